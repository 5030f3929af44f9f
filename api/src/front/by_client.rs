//! A little about each of many clients, in memory that does not grow.
//!
//! A table of fixed size with a few places for each hash. What is kept says by itself from when on it means nothing
//! ([`Fades`]), so that nothing has to be cleaned up: a new client takes a place that has faded, and if there is
//! none, that of whoever would fade first.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Places for clients with the same part of their hash.
const WAYS: usize = 8;

/// Bits of an IPv6 address that tell clients apart: a network of this size is the least that a customer gets
/// (RFC 6177), and all of its addresses are his.
const IPV6_BITS: u32 = 64;

/// What is kept of a client. The default is what is known of one who was never seen.
pub trait Fades: Default + Send {
    /// From when on it says no more than the default, by the clock of the table.
    fn fades_at(&self) -> Duration;
}

/// What is kept of clients; of at most so many as it was made for.
pub struct ByClient<V> {
    sets: Box<[Mutex<[Place<V>; WAYS]>]>,
    /// With a key of this process: nobody can choose addresses that meet.
    hasher: RandomState,
    began: Instant,
}

#[derive(Default)]
struct Place<V> {
    /// The hash of whom it is about; 0 is nobody.
    mark: u64,
    value: V,
}

impl<V: Fades> ByClient<V> {
    /// A table of `clients_max` places, rounded up to a power of two.
    pub fn new(clients_max: usize) -> Self {
        let sets = clients_max.div_ceil(WAYS).next_power_of_two();
        ByClient {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            began: Instant::now(),
        }
    }

    /// Changes what is kept of a client, in one of several respects. `change` gets it with the time of the table.
    pub fn change<R>(&self, client: IpAddr, respect: u8, change: impl FnOnce(&mut V, Duration) -> R) -> R {
        let (mark, mut set) = self.set(client, respect);
        let now = self.began.elapsed();
        let place = match set.iter().position(|place| place.mark == mark) {
            Some(place) => &mut set[place],
            None => {
                let first = set.iter_mut().min_by_key(|place| match place.mark {
                    0 => Duration::ZERO,
                    _ => place.value.fades_at(),
                });
                let place = first.expect("a set has places");
                *place = Place { mark, value: V::default() };
                place
            }
        };
        change(&mut place.value, now)
    }

    /// What is kept of a client, without keeping anything of one who is not known.
    pub fn look<R>(&self, client: IpAddr, respect: u8, look: impl FnOnce(&V, Duration) -> R) -> R {
        let (mark, set) = self.set(client, respect);
        let now = self.began.elapsed();
        match set.iter().find(|place| place.mark == mark) {
            Some(place) => look(&place.value, now),
            None => look(&V::default(), now),
        }
    }

    fn set(&self, client: IpAddr, respect: u8) -> (u64, MutexGuard<'_, [Place<V>; WAYS]>) {
        let hash = self.hasher.hash_one((network(client), respect));
        // The place and the mark are of different bits as far as there are any.
        let set = &self.sets[(hash >> 32) as usize & (self.sets.len() - 1)];
        (hash | 1, set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whom an address stands for.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << (u128::BITS - IPV6_BITS));
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

impl<V> fmt::Debug for ByClient<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clients", self.sets.len() * WAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Until(Duration);

    impl Fades for Until {
        fn fades_at(&self) -> Duration {
            self.0
        }
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn kept(table: &ByClient<Until>, client: IpAddr) -> u64 {
        table.look(client, 0, |until, _| until.0.as_secs())
    }

    #[test]
    fn clients_are_told_apart_and_networks_of_one_are_not() {
        let table = ByClient::new(1024);
        let set = |client: &str, respect, seconds| {
            let client = client.parse().expect("an address");
            table.change(client, respect, |until: &mut Until, _| until.0 = Duration::from_secs(seconds));
        };
        set("192.0.2.1", 0, 1);
        set("192.0.2.1", 1, 2);
        set("2001:db8::1", 0, 3);
        for (client, respect, seconds) in [
            ("192.0.2.1", 0, 1),
            ("::ffff:192.0.2.1", 0, 1),
            ("192.0.2.1", 1, 2),
            ("192.0.2.2", 0, 0),
            ("2001:db8::ffff:1", 0, 3),
            ("2001:db8:0:1::1", 0, 0),
        ] {
            let found = table.look(client.parse().expect("an address"), respect, |until, _| until.0.as_secs());
            assert_eq!(found, seconds, "{client} {respect}");
        }
    }

    #[test]
    fn a_full_table_forgets_whoever_fades_first() {
        const CLIENTS: u32 = 10_000;
        let table = ByClient::new(WAYS);
        for number in 1..=CLIENTS {
            // One stays long, and all that come later do not drive him out.
            let seconds = if number == 1 { u64::from(CLIENTS) * 2 } else { u64::from(number) };
            table.change(address(number), 0, |until: &mut Until, _| until.0 = Duration::from_secs(seconds));
        }
        assert_eq!(kept(&table, address(1)), u64::from(CLIENTS) * 2);
        assert_eq!(kept(&table, address(CLIENTS)), u64::from(CLIENTS));
        let remembered = (1..=CLIENTS).filter(|number| kept(&table, address(*number)) > 0).count();
        assert_eq!(remembered, WAYS);
    }
}
