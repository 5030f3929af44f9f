//! Names and passwords whose answers are given again without looking them up.
//!
//! In: a login that was right, by the file of users. Out: whether the next request with the same one is answered
//! alike, at the price of a look at two numbers. Everything that has to be asked, counted or written down for a
//! request is not for here: other ways to log in, and an address from which logins have failed.

use std::{net::IpAddr, sync::Arc};

use orlop_api::{
    access::Subject,
    server::{Holds, Lasting},
};

use crate::{htpasswd::Vouched, throttle::Throttle};

/// A user of the file.
pub struct OfFile {
    pub subject: Subject,
    pub vouched: Vouched,
    pub throttle: Option<Arc<Throttle>>,
}

impl Lasting for OfFile {
    fn holds(&self, client: IpAddr) -> Holds {
        match self.throttle.as_ref().is_none_or(|throttle| throttle.is_clear(client)) {
            true => self.vouched.holds(),
            false => Holds::Unknown,
        }
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }
}
