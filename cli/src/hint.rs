//! What a person at a terminal can do next.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// How to push a first image to a service that listens on `address`; a few lines.
pub fn text(address: SocketAddr, scheme: &str) -> String {
    // A service on every interface is reached on the loopback one; Docker speaks plain HTTP to
    // 127.0.0.0/8 without being told to.
    let host = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let registry = SocketAddr::new(host, address.port());
    format!(
        "\n\
         Orlop is listening at {scheme}://{registry}. Push a first image, with skopeo:\n\n\
         \x20   skopeo copy --dest-tls-verify=false docker://docker.io/library/alpine docker://{registry}/alpine\n\n\
         or with Docker:\n\n\
         \x20   docker pull alpine\n\
         \x20   docker tag alpine {registry}/alpine\n\
         \x20   docker push {registry}/alpine\n\n\
         Ctrl-C stops the service.\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_an_address_that_can_be_reached() {
        let text = text("0.0.0.0:5000".parse().expect("an address"), "http");
        assert!(text.contains("http://127.0.0.1:5000"), "{text}");
        assert!(text.contains("docker push 127.0.0.1:5000/alpine"), "{text}");
    }
}
