//! What proxies say of clients, against a slow reading of lists; and what a client must not be able to do: whatever
//! he begins a header with, he is who the proxy has seen.

use std::net::IpAddr;

use orlop_api::front::{ForwardedBy, Proxies};

/// Who the proxy has seen, and what it adds.
const CLIENT: &str = "192.0.2.1";

pub fn run(data: &[u8]) {
    let proxy: IpAddr = "10.0.0.1".parse().expect("an address");
    let trusted = vec!["10.0.0.0/8".parse().expect("a range")];
    let see = |header, name: &str, value: &[u8]| {
        let proxies = Proxies { trusted: trusted.clone(), header };
        let values = |asked: &str| if asked == name { vec![value] } else { Vec::new() };
        proxies.see(proxy, values).map(|seen| seen.client.to_string())
    };

    let added = [data, b", ", CLIENT.as_bytes()].concat();
    assert_eq!(see(ForwardedBy::XForwardedFor, "x-forwarded-for", &added).as_deref(), Ok(CLIENT));
    let seen = see(ForwardedBy::XForwardedFor, "x-forwarded-for", data).expect("every list can be read");
    assert_eq!(seen, slow(data), "{:?}", String::from_utf8_lossy(data));

    // The standard header has quotes: one that cannot be read is nobody's, and every other one ends with the client.
    let added = [data, b", for=", CLIENT.as_bytes()].concat();
    if let Ok(seen) = see(ForwardedBy::Forwarded, "forwarded", &added) {
        assert_eq!(seen, CLIENT, "{:?}", String::from_utf8_lossy(data));
    }
}

/// The last address of a list that is not the proxies', or the first one, as long as all behind it are addresses.
fn slow(list: &[u8]) -> String {
    let entries: Vec<_> = list.split(|byte| *byte == b',').collect();
    let mut last = "10.0.0.1".to_owned();
    for entry in entries.into_iter().rev().take(32) {
        let Some(address) = std::str::from_utf8(entry).ok().and_then(|text| address(text.trim())) else { break };
        last = address.to_string();
        if !last.starts_with("10.") {
            break;
        }
    }
    last
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let found = match (bare, text.rsplit_once(':')) {
        (Some(bare), _) => bare.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6),
        _ if text.parse::<IpAddr>().is_ok() => text.parse().ok(),
        (None, Some(_)) => text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()),
        (None, None) => None,
    };
    found.map(|address| address.to_canonical())
}
