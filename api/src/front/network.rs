//! A range of addresses, as it is written in configurations: `10.0.0.0/8`, `fd00::/8`, or a single address.

use std::{net::IpAddr, str::FromStr};

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// All bits after the first `bits` are 0.
    address: IpAddr,
    bits: u32,
}

/// Why a text is no range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("expected an address such as 192.0.2.1 or a range such as 10.0.0.0/8 or fd00::/8")]
    Syntax,
    /// Whoever writes it may mean the one address or the whole range.
    #[error("the address has bits behind the prefix; write the first address of the range, or leave the / out")]
    BitsBehindPrefix,
}

impl Network {
    /// Whether an address is one of them. An IPv4 address that is written as an IPv6 one is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                masked(network.to_bits().into(), self.bits, u32::BITS)
                    == masked(address.to_bits().into(), self.bits, u32::BITS)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                masked(network.to_bits(), self.bits, u128::BITS) == masked(address.to_bits(), self.bits, u128::BITS)
            }
            _ => false,
        }
    }
}

/// The first `bits` bits of a number of `width` bits.
fn masked(number: u128, bits: u32, width: u32) -> u128 {
    number.checked_shr(width - bits).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        // A range of mapped addresses would never match, as those are taken for what they stand for.
        let address = if bits.is_none() { address.to_canonical() } else { address };
        let (number, width) = match address {
            IpAddr::V4(address) => (address.to_bits().into(), u32::BITS),
            IpAddr::V6(address) => (address.to_bits(), u128::BITS),
        };
        let is_plain = |bits: &&str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => Some(bits).filter(is_plain).and_then(|bits| bits.parse().ok()).ok_or(NetworkError::Syntax)?,
        };
        if bits > width || address != address.to_canonical() {
            return Err(NetworkError::Syntax);
        }
        if masked(number, bits, width).checked_shl(width - bits).unwrap_or(0) != number {
            return Err(NetworkError::BitsBehindPrefix);
        }
        Ok(Network { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_addresses_and_no_others() {
        for (range, within, without) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["11.0.0.0", "9.255.255.255"][..]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127", "::c000:280"]),
            ("192.0.2.1", &["192.0.2.1", "::ffff:192.0.2.1"], &["192.0.2.0"]),
            ("::ffff:192.0.2.1", &["192.0.2.1"], &["192.0.2.0"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]),
            ("::/0", &["::", "ffff::1"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("fd00::/8", &["fd00::", "fdff:ffff::1"], &["fe00::", "fc00::"]),
            ("2001:db8::1/128", &["2001:db8::1"], &["2001:db8::"]),
        ] {
            let network: Network = range.parse().unwrap_or_else(|error| panic!("{range}: {error}"));
            for address in within {
                assert!(network.contains(address.parse().expect("an address")), "{address} in {range}");
            }
            for address in without {
                assert!(!network.contains(address.parse().expect("an address")), "{address} not in {range}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "a", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/-1", "1.2.3.4:5"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Syntax), "{text}");
        }
        assert_eq!("::ffff:10.0.0.0/104".parse::<Network>(), Err(NetworkError::Syntax));
        for text in ["10.0.0.1/8", "fd00::1/64", "0.0.0.1/0"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::BitsBehindPrefix), "{text}");
        }
    }
}
