//! Failed logins, counted for each address that they come from.
//!
//! After a number of failures an address has to wait before its next attempt, each time twice as long. Whoever
//! guesses gets nowhere, and whoever knows his password is kept out by nobody who sits elsewhere. Of those behind
//! the same address (a company's, with one machine that has an old password) the ones who are logged in already go
//! on, except for the names that failed there: for these even the right password waits, or else an answer would tell
//! right guesses from wrong ones.

use std::{net::IpAddr, time::Duration};

use orlop_api::{
    access::Unidentified,
    front::{ByClient, Fades},
};

use crate::logins::random_key;

/// Failures of an address before it has to wait.
pub const FAILURES_DEFAULT: u32 = 10;

/// Addresses whose failures are remembered at the same time, in less than 1 MiB.
const CLIENTS_MAX: usize = 1 << 14;

/// The first wait, and the longest.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(64);

/// How long after its last failure an address is forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// What the table keeps of an address; there is nothing else to keep.
const FAILURES: u8 = 0;

pub struct Throttle {
    failures_max: u32,
    clients: ByClient<Client>,
    key: [u8; crate::logins::KEY_BYTES],
}

#[derive(Default)]
struct Client {
    failures: u32,
    /// No attempt before.
    waits_until: Duration,
    failed_at: Duration,
    /// A bit for each name that was tried and was not let in; several names may share one.
    names: u64,
}

impl Fades for Client {
    fn fades_at(&self) -> Duration {
        self.failed_at + MEMORY
    }
}

/// Whether somebody may try to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// Only with what was right before.
    IfKnown(Duration),
    Later(Duration),
}

impl Throttle {
    /// `failures_max` is at least 1.
    pub fn new(failures_max: u32) -> Self {
        Throttle { failures_max: failures_max.max(1), clients: ByClient::new(CLIENTS_MAX), key: random_key() }
    }

    pub fn failures_max(&self) -> u32 {
        self.failures_max
    }

    /// Asks before an attempt of `user` from `client`, so that of many at once only as many are made as may fail.
    pub fn turn(&self, client: IpAddr, user: &str) -> Turn {
        let is_suspect = |found: &Client, now| found.is_remembered(now) && found.failures >= self.failures_max;
        if !self.clients.look(client, FAILURES, is_suspect) {
            return Turn::Now;
        }
        self.clients.change(client, FAILURES, |found, now| {
            let wait = found.waits_until.saturating_sub(now);
            if wait.is_zero() {
                // The others wait for what becomes of this one.
                found.waits_until = now + found.wait(self.failures_max);
                return Turn::Now;
            }
            match found.names & self.bit(user) {
                0 => Turn::IfKnown(wait),
                _ => Turn::Later(wait),
            }
        })
    }

    /// Whether no login from there has failed, as far as is remembered: then every attempt has its turn, and one
    /// that succeeds changes nothing.
    pub fn is_clear(&self, client: IpAddr) -> bool {
        self.clients.look(client, FAILURES, |found, now| !found.is_remembered(now))
    }

    /// An attempt has failed.
    pub fn failed(&self, client: IpAddr, user: &str) {
        let failures = self.clients.change(client, FAILURES, |found, now| {
            if !found.is_remembered(now) {
                *found = Client::default();
            }
            found.failures = found.failures.saturating_add(1);
            found.failed_at = now;
            found.names |= self.bit(user);
            if found.failures >= self.failures_max {
                found.waits_until = now + found.wait(self.failures_max);
            }
            found.failures
        });
        if failures >= self.failures_max {
            tracing::warn!(%client, failures, "logins from this address fail again and again; it has to wait");
        }
    }

    /// An attempt was right: nobody waits any longer for now. What failed before is not forgotten, or a login of
    /// one's own would pay for guessing those of others.
    pub fn succeeded(&self, client: IpAddr, user: &str) {
        if self.clients.look(client, FAILURES, |found, _| found.failures > 0) {
            self.clients.change(client, FAILURES, |found, now| {
                found.waits_until = now;
                found.names &= !self.bit(user);
            });
        }
    }

    /// Somebody was told to wait.
    pub fn refused(&self, client: IpAddr, user: &str, wait: Duration) -> Unidentified {
        self.clients.change(client, FAILURES, |found, _| found.names |= self.bit(user));
        Unidentified::Throttled(wait)
    }

    fn bit(&self, user: &str) -> u64 {
        1 << (blake3::keyed_hash(&self.key, user.as_bytes()).as_bytes()[0] % 64)
    }
}

impl Client {
    fn is_remembered(&self, now: Duration) -> bool {
        self.failures > 0 && now < self.fades_at()
    }

    /// Twice as long after each failure beyond those that are free.
    fn wait(&self, failures_max: u32) -> Duration {
        let doublings = self.failures.saturating_sub(failures_max).min(u32::BITS - 1);
        WAIT_MIN.saturating_mul(1 << doublings).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_fails_waits_ever_longer_and_nobody_elsewhere_does() {
        let throttle = Throttle::new(3);
        for _ in 0..3 {
            assert_eq!(throttle.turn(HERE, "ann"), Turn::Now);
            throttle.failed(HERE, "ann");
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            let Turn::Later(wait) = throttle.turn(HERE, "ann") else { panic!("no wait") };
            waits.push(wait.as_secs());
            assert_eq!(throttle.turn(HERE, "ben"), Turn::IfKnown(wait));
            assert_eq!(throttle.turn(ELSEWHERE, "ann"), Turn::Now);
            pass(wait).await;
            assert_eq!(throttle.turn(HERE, "ann"), Turn::Now);
            assert!(matches!(throttle.turn(HERE, "ann"), Turn::Later(_)), "one at a time");
            throttle.failed(HERE, "ann");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        pass(MEMORY).await;
        assert_eq!(throttle.turn(HERE, "ann"), Turn::Now);
        throttle.failed(HERE, "ann");
        assert_eq!(throttle.turn(HERE, "ann"), Turn::Now, "all is forgotten, after a while");
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_login_ends_the_wait_but_is_no_pardon() {
        let throttle = Throttle::new(2);
        throttle.failed(HERE, "ann");
        throttle.failed(HERE, "ann");
        pass(WAIT_MIN).await;
        assert_eq!(throttle.turn(HERE, "ann"), Turn::Now);
        throttle.succeeded(HERE, "ann");
        assert_eq!(throttle.turn(HERE, "ann"), Turn::Now);
        throttle.failed(HERE, "ben");
        assert_eq!(throttle.turn(HERE, "ben"), Turn::Later(WAIT_MIN * 2));
        assert_eq!(throttle.turn(HERE, "ann"), Turn::IfKnown(WAIT_MIN * 2));
        assert_eq!(throttle.refused(HERE, "ann", WAIT_MIN), Unidentified::Throttled(WAIT_MIN));
        assert_eq!(throttle.turn(HERE, "ann"), Turn::Later(WAIT_MIN * 2), "a second guess is not answered");
    }

    #[test]
    fn whoever_never_failed_is_not_remembered() {
        let throttle = Throttle::new(1);
        throttle.succeeded(HERE, "ann");
        assert_eq!(throttle.turn(HERE, "ann"), Turn::Now);
        assert!(throttle.clients.look(HERE, FAILURES, |found, _| found.failures == 0));
    }
}
