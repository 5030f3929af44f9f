//! Whose decision it is that a request is traced.

use http::Method;
use orlop_tests::{
    Collector,
    collector::Mood,
    http::{empty, request},
};
use serde_json::{Value, json};

use crate::rig::{Rig, expect, with};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_decides_for_its_trace() {
    let collector = Collector::start(Mood::Takes).await;
    for sample in [0.0, 1.0] {
        let rig = Rig::start(&collector.endpoint(), sample).await;
        let mut client = rig.kept();
        let known = collector.spans().len();
        for (flags, state) in [("00", "a=0"), ("02", "a=0"), ("01", "a=1,b=2"), ("03", "no state")] {
            let parent = format!("00-{TRACE}-{SPAN}-{flags}");
            let get = request(Method::GET, "/v2/", empty());
            expect(client.send(with(get, &[("traceparent", &parent), ("tracestate", state)])).await, 200);
        }
        // Spans come in order: none of the first two was sent.
        let spans = collector.wait_for(known + 2).await;
        assert_eq!(spans.len(), known + 2);
        for (span, state) in spans[known..].iter().zip([json!("a=1,b=2"), Value::Null]) {
            assert_eq!((&span.span["traceId"], &span.span["parentSpanId"]), (&json!(TRACE), &json!(SPAN)));
            assert_eq!((&span.span["traceState"], &span.span["flags"]), (&state, &json!(0x301)));
            assert_ne!(span.span["spanId"], SPAN);
        }
        assert_eq!(rig.stop().await, (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_cannot_be_understood_is_none() {
    let collector = Collector::start(Mood::Takes).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    let whole = format!("00-{TRACE}-{SPAN}-00");
    let malformed = [&whole[1..], &whole.to_uppercase(), "", "\u{e9}", "00-0-0-01", &format!("ff{}", &whole[2..])];
    let mut client = rig.kept();
    for parent in malformed {
        let get = request(Method::GET, "/v2/", empty());
        expect(client.send(with(get, &[("traceparent", parent), ("tracestate", "a=1")])).await, 200);
    }
    let get = request(Method::GET, "/v2/", empty());
    expect(client.send(with(get, &[("traceparent", &whole), ("traceparent", &whole)])).await, 200);
    let spans = collector.wait_for(malformed.len() + 1).await;
    let mut traces: Vec<String> = spans.iter().map(|span| span.span["traceId"].to_string()).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), spans.len(), "each begins a trace of its own");
    for span in spans {
        assert_eq!(span.span["parentSpanId"], Value::Null);
        assert_eq!(span.span["traceState"], Value::Null);
        assert!(!span.span["traceId"].to_string().contains(TRACE));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_without_a_caller_a_share_is_traced() {
    const REQUESTS: usize = 2000;
    let collector = Collector::start(Mood::Takes).await;
    let rig = Rig::start(&collector.endpoint(), 0.25).await;
    let mut client = rig.kept();
    for _ in 0..REQUESTS {
        expect(client.call(Method::GET, "/livez", "").await, 200);
    }
    let (exported, dropped) = rig.stop().await;
    assert_eq!((exported as usize, dropped), (collector.spans().len(), 0));
    // Eight standard deviations.
    assert!(exported.abs_diff(REQUESTS as u64 / 4) < 160, "{exported} of {REQUESTS}");
}
