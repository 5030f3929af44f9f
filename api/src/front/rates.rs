//! How many requests a client may send.
//!
//! Each client has, for all requests and for those of each method that has a rate, a bucket that holds as many
//! requests as the rate allows in a second, and fills at that rate. It is kept as one number: the moment at which it
//! will be full again.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::Method;

use super::{ByClient, Fades};

/// Clients whose requests are counted at the same time, once for each rate, in 2 MiB. Beyond it those are forgotten who were
/// nearest to a full bucket.
const CLIENTS_MAX: usize = 1 << 16;

/// How long a bucket takes to fill.
const PERIOD: Duration = Duration::from_secs(1);

/// The bucket of all methods; the others are those of single methods.
const ALL: u8 = 0;

/// Rates of requests, each for one client.
#[derive(Debug)]
pub struct Rates {
    all: Option<Rate>,
    methods: Vec<Limited>,
    clients: Arc<ByClient<Bucket>>,
}

/// A method with a rate of its own, and which of a client's buckets is for it.
#[derive(Debug)]
struct Limited {
    method: Method,
    rate: Rate,
    bucket: u8,
}

/// Requests in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

/// When a bucket will be full.
#[derive(Default)]
struct Bucket {
    full_at: Duration,
}

impl Fades for Bucket {
    fn fades_at(&self) -> Duration {
        self.full_at
    }
}

/// A request that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub rate: Rate,
    /// Until there is room for one more.
    pub wait: Duration,
}

impl Rate {
    /// The highest one: a million requests in a second.
    pub const MAX: u32 = 1_000_000;

    /// `None` for 0, and for more than [`Rate::MAX`].
    pub fn new(requests_per_second: u32) -> Option<Self> {
        (1..=Rate::MAX).contains(&requests_per_second).then_some(Rate(requests_per_second))
    }

    pub fn requests_per_second(self) -> u32 {
        self.0
    }

    /// What one request takes of a bucket.
    fn step(self) -> Duration {
        PERIOD / self.0
    }
}

impl Rates {
    /// A rate of all requests together, and rates of single methods. Both count where both are there.
    pub fn new(all: Option<Rate>, methods: Vec<(Method, Rate)>) -> Self {
        let limited = |((method, rate), bucket)| Limited { method, rate, bucket };
        let methods = methods.into_iter().zip(ALL + 1..).map(limited).collect();
        Rates { all, methods, clients: Arc::new(ByClient::new(CLIENTS_MAX)) }
    }

    /// The same rates over the buckets of `running`. A bucket that is partly empty is so by another rate, too: the
    /// moment at which it will be full does not change, and is within a second.
    #[must_use]
    pub(super) fn following(mut self, running: &Rates) -> Self {
        self.clients = running.clients.clone();
        let of = |method: &Method| running.methods.iter().find(|known| known.method == *method);
        let mut taken: Vec<u8> = running.methods.iter().map(|known| known.bucket).collect();
        for limited in &mut self.methods {
            limited.bucket = match of(&limited.method) {
                Some(known) => known.bucket,
                None => (ALL + 1..=u8::MAX).find(|bucket| !taken.contains(bucket)).unwrap_or(ALL),
            };
            taken.push(limited.bucket);
        }
        self
    }

    /// Counts a request of a client, unless it is one too many. Never waits.
    pub(crate) fn admit(&self, client: IpAddr, method: &Method) -> Result<(), TooMany> {
        let of_method = self.methods.iter().find(|limited| limited.method == *method);
        let buckets = [self.all.map(|rate| (rate, ALL)), of_method.map(|limited| (limited.rate, limited.bucket))];
        for (rate, bucket) in buckets.into_iter().flatten() {
            self.clients.change(client, bucket, |bucket, now| bucket.take(rate, now))?;
        }
        Ok(())
    }
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Duration) -> Result<(), TooMany> {
        let full_at = self.full_at.max(now) + rate.step();
        match full_at.checked_sub(now + PERIOD) {
            None | Some(Duration::ZERO) => {
                self.full_at = full_at;
                Ok(())
            }
            Some(wait) => Err(TooMany { rate, wait }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u32) -> Rate {
        Rate::new(requests).expect("in range")
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_bucket_holds_a_second_and_fills_in_one() {
        for requests in [1, 3, 7, 1_000, Rate::MAX] {
            let (mut bucket, rate) = (Bucket::default(), rate(requests));
            let start = Duration::from_secs(100);
            for number in 0..requests {
                assert_eq!(bucket.take(rate, start), Ok(()), "{number} of {requests}");
            }
            // A step that is no whole number of nanoseconds leaves a part of a request over, never a whole second.
            let refused = bucket.take(rate, start);
            let Err(TooMany { wait, .. }) = refused else { panic!("{requests}: one too many was taken") };
            assert!(wait <= rate.step() && !wait.is_zero(), "{requests}: {wait:?}");
            assert_eq!(bucket.take(rate, start + wait), Ok(()), "{requests}");
            assert!(bucket.take(rate, start + wait).is_err(), "{requests}");
            let later = start + Duration::from_secs(3600);
            assert!((0..requests).all(|_| bucket.take(rate, later).is_ok()) && bucket.take(rate, later).is_err());
        }
        assert_eq!((Rate::new(0), Rate::new(Rate::MAX + 1)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn every_client_has_buckets_of_his_own() {
        let rates = Rates::new(Some(rate(5)), vec![(Method::POST, rate(2)), (Method::PUT, rate(9))]);
        let sent =
            |client, method: Method, count: usize| (0..count).filter(|_| rates.admit(client, &method).is_ok()).count();
        assert_eq!(sent(client(1), Method::POST, 4), 2, "as many as POST may");
        assert_eq!(sent(client(1), Method::GET, 9), 1, "what was refused to POST has counted among all");
        assert_eq!(sent(client(2), Method::GET, 9), 5);
        assert_eq!(sent(client(3), Method::PUT, 9), 5, "as many as all may");
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(sent(client(2), Method::GET, 9), 2, "two more in two fifths of a second");
        assert_eq!(rates.admit(client(2), &Method::GET).map_err(|error| error.rate.requests_per_second()), Err(5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_counts_on_by_the_next_rates() {
        let first = Rates::new(Some(rate(20)), vec![(Method::POST, rate(2)), (Method::PUT, rate(3))]);
        let sent = |rates: &Rates, method: Method, count: usize| {
            (0..count).filter(|_| rates.admit(client(1), &method).is_ok()).count()
        };
        assert_eq!((sent(&first, Method::POST, 1), sent(&first, Method::PUT, 1)), (1, 1));
        // In another order, one of them new, and one gone.
        let methods = vec![(Method::DELETE, rate(1)), (Method::POST, rate(2))];
        let second = Rates::new(Some(rate(20)), methods).following(&first);
        assert_eq!(sent(&second, Method::POST, 2), 1, "one of two was sent before");
        assert_eq!(sent(&second, Method::DELETE, 2), 1, "nothing that others have sent");
        assert_eq!(sent(&second, Method::GET, 99), 14, "six of twenty were sent before");
        let third = Rates::new(Some(rate(10)), Vec::new()).following(&second);
        assert_eq!(sent(&third, Method::GET, 9), 0, "nothing that was sent is given back");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(sent(&third, Method::GET, 9), 5, "half a second of the new rate");
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let rates = Rates::new(None, vec![(Method::POST, rate(1))]);
        assert!((0..10_000).all(|_| rates.admit(client(1), &Method::GET).is_ok()));
        assert!(rates.admit(client(1), &Method::POST).is_ok() && rates.admit(client(1), &Method::POST).is_err());
    }
}
