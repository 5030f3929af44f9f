//! What stands before the routes: `http.trustedProxies`, `http.forwardedHeader`, `http.ratelimit` (zot's) and
//! `http.basePath`.

use http::Method;
use orlop_api::front::{BasePath, ForwardedBy, Network, Rate, Rates};

use super::{
    Config,
    error::ErrorKind,
    tree::Node,
    value::{Problem, Value},
};

/// The key of the rates.
pub const RATES: &str = "http.ratelimit";

/// The most ranges of addresses of proxies.
const PROXIES_MAX: usize = 1_000;

/// The most methods with a rate of their own: there are so many.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

pub fn set_trusted_proxies(config: &mut Config, value: &Value) -> Result<(), Problem> {
    const EXPECTED: &str = "a list of addresses and ranges, such as [\"10.0.0.0/8\"]";
    let values = value.list(EXPECTED)?;
    if values.len() > PROXIES_MAX {
        return Err(Problem::Unusable(format!("it has {} elements, expected at most {PROXIES_MAX}", values.len())));
    }
    let network = |value: &Value| {
        let text = value.text(EXPECTED)?;
        text.parse::<Network>().map_err(|error| Problem::Unusable(format!("{text:?}: {error}")))
    };
    config.front.proxies.trusted = values.iter().map(network).collect::<Result<_, _>>()?;
    Ok(())
}

pub fn set_forwarded_header(config: &mut Config, value: &Value) -> Result<(), Problem> {
    const EXPECTED: &str = "\"X-Forwarded-For\" or \"Forwarded\"";
    let name = value.text(EXPECTED)?;
    config.front.proxies.header = match name.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => ForwardedBy::XForwardedFor,
        "forwarded" => ForwardedBy::Forwarded,
        _ => return Err(Problem::Unusable(format!("{name:?} is not known, expected {EXPECTED}"))),
    };
    Ok(())
}

pub fn set_base_path(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let text = value.text("a path such as \"/registry\"")?;
    config.front.base_path = BasePath::new(text).map_err(|error| Problem::Unusable(format!("{text:?}: {error}")))?;
    Ok(())
}

/// Sets the rates, which are zot's keys: requests in a second.
pub fn set_rates(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let (mut all, mut methods) = (None, Vec::new());
    Node::new(path, value).each_key(&["rate", "methods"], |key, node| {
        match key {
            "rate" => all = Some(rate(&node)?),
            _ => methods = node.each("a list of methods with their rates", METHODS.len(), of_method)?,
        }
        Ok(())
    })?;
    for (index, (method, _)) in methods.iter().enumerate() {
        if methods[..index].iter().any(|(earlier, _)| earlier == method) {
            return Err(ErrorKind::Duplicate { key: format!("{path}.methods[{index}].method") });
        }
    }
    let is_limited = all.is_some() || !methods.is_empty();
    config.front.rates = is_limited.then(|| Rates::new(all, methods));
    Ok(())
}

fn of_method(node: Node<'_>) -> Result<(Method, Rate), ErrorKind> {
    let (mut method, mut rate) = (None, None);
    node.each_key(&["method", "rate"], |key, node| {
        match key {
            "method" => method = Some(self::method(&node)?),
            _ => rate = Some(self::rate(&node)?),
        }
        Ok(())
    })?;
    method.zip(rate).ok_or_else(|| node.unusable("it needs \"method\" and \"rate\""))
}

fn method(node: &Node<'_>) -> Result<Method, ErrorKind> {
    let name = node.text("a method as a string")?;
    let known = METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        let names = METHODS.each_ref().map(Method::as_str).join("\", \"");
        node.unusable(format!("{name:?} is not known, expected \"{names}\""))
    })
}

/// A rate of 0 would refuse everything.
fn rate(node: &Node<'_>) -> Result<Rate, ErrorKind> {
    let requests = node.whole("a whole number of requests in a second")?;
    let rate = u32::try_from(requests).ok().and_then(Rate::new);
    rate.ok_or_else(|| node.unusable(format!("{requests} is out of range, expected 1 to {}", Rate::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn parse(http: &str) -> Result<Config, String> {
        let mut config = Config::default();
        let text = format!(r#"{{"http": {http}}}"#);
        parse::apply(&mut config, text.as_bytes()).map(|()| config).map_err(|error| error.to_string())
    }

    #[test]
    fn what_stands_before_the_routes_is_taken_over() {
        let config = parse(
            r#"{
                "trustedProxies": ["10.0.0.0/8", "192.0.2.1", "fd00::/8"], "forwardedHeader": "Forwarded",
                "ratelimit": {"rate": 100, "methods": [{"method": "get", "rate": 50}, {"method": "POST", "rate": 5}]},
                "basePath": "/registry"
            }"#,
        )
        .unwrap_or_else(|error| panic!("refused: {error}"));
        let front = config.front;
        assert_eq!((front.proxies.trusted.len(), front.proxies.header), (3, ForwardedBy::Forwarded));
        assert_eq!(front.base_path.as_str(), "/registry");
        assert!(front.rates.is_some());
    }

    #[test]
    fn nothing_said_is_nothing_there() {
        for text in ["{}", r#"{"ratelimit": {}, "trustedProxies": [], "basePath": ""}"#] {
            let front = parse(text).unwrap_or_else(|error| panic!("refused: {error}")).front;
            assert!(front.rates.is_none() && front.proxies.trusted.is_empty(), "{text}");
            assert_eq!((front.proxies.header, front.base_path.as_str()), (ForwardedBy::XForwardedFor, ""));
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, part) in [
            (r#"{"trustedProxies": "10.0.0.0/8"}"#, "http.trustedProxies"),
            (r#"{"trustedProxies": ["10.0.0.1/8"]}"#, "bits behind the prefix"),
            (r#"{"trustedProxies": ["proxy.example.org"]}"#, "expected an address"),
            (r#"{"forwardedHeader": "X-Real-IP"}"#, "expected \"X-Forwarded-For\" or \"Forwarded\""),
            (r#"{"ratelimit": {"rate": 0}}"#, "http.ratelimit.rate"),
            (r#"{"ratelimit": {"rate": 1000001}}"#, "1 to 1000000"),
            (r#"{"ratelimit": {"rates": 1}}"#, "http.ratelimit.rate"),
            (r#"{"ratelimit": {"methods": [{"method": "GET"}]}}"#, "\"method\" and \"rate\""),
            (r#"{"ratelimit": {"methods": [{"method": "BREW", "rate": 1}]}}"#, "\"BREW\" is not known"),
            (
                r#"{"ratelimit": {"methods": [{"method": "GET", "rate": 1}, {"method": "get", "rate": 2}]}}"#,
                "methods[1].method",
            ),
            (r#"{"basePath": "registry"}"#, "http.basePath"),
            (r#"{"basePath": "/registry/"}"#, "no '/' at its end"),
        ] {
            let Err(error) = parse(text) else { panic!("accepted: {text}") };
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
        }
    }
}
