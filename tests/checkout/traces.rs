//! Traces of the real engine, as a collector has them: a purchase and its payment in the trace of whoever asked, on both
//! front ends, and a collector that is no good to anybody.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use testbed::engine::{Engine, Launch};
use testbed::until;

use crate::collector::{Collector, Mood, text};
use crate::example_gateway::{ExampleGateway, Weather};
use crate::process::{as_pairs, buy, keys};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PURCHASE: &str = "POST /seckill/{campaign}/{sku}";
const CHECKOUT: &str = "POST /orders/{id}/checkout";

fn launch(front_end: &str, collector: &Collector, more: &[(&str, &str)]) -> Launch {
    let url = collector.url();
    let headers = format!("[{:?}]", Collector::HEADER);
    let keys = [
        ("EDGE__FRONT_END", front_end),
        ("TRACES__ENDPOINT", url.as_str()),
        ("TRACES__HEADERS", headers.as_str()),
        ("TRACES__FLUSH_MS", "20"),
    ];
    Launch::new(&[&keys[..], more].concat())
}

/// Buys one in this span of the caller's trace; the answer's status.
fn buy_in(engine: &Engine, buyer: &str, span: &str, flags: &str) -> (u16, String) {
    let lines = format!("traceparent: 00-{TRACE}-{span}-{flags}\r\nX-Request-ID: req-of-{buyer}\r\n");
    let answer = engine.ask("POST", "/seckill/test/phone", buyer, &lines, "");
    (answer.status, answer.member("order_id"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_buyer<'a>(spans: &'a [Span], name: &str, buyer: &str) -> Option<&'a Span> {
    let id = Some(format!("req-of-{buyer}"));
    spans.iter().find(|span| span.name == name && text(&span.attributes, "seckill.request_id") == id)
}

/// The only part of `whole` that has this name.
fn part_of<'a>(spans: &'a [Span], whole: &Span, name: &str) -> &'a Span {
    let is_part = |span: &&Span| {
        span.name == name && span.parent_span_id == whole.span_id && span.trace_id == whole.trace_id
    };
    let parts: Vec<_> = spans.iter().filter(is_part).collect();
    assert_eq!(parts.len(), 1, "{name} in {}", whole.name);
    assert!(parts[0].start_time_unix_nano <= parts[0].end_time_unix_nano);
    parts[0]
}

#[test]
fn t1_a_purchase_and_its_payment_are_parts_of_the_callers_trace() {
    for front_end in ["hyper", "may"] {
        let (collector, gateway) = (Collector::start(Mood::Takes), ExampleGateway::start(Weather::Fair));
        let of_gateway = keys("bank", &gateway);
        let keys = [&as_pairs(&of_gateway)[..], &[("TRACES__REFUSALS_ONE_IN", "0")]].concat();
        let engine = launch(front_end, &collector, &keys).start();
        engine.sale("phone", 10, "");
        let (status, order) = buy_in(&engine, "ann", "b7ad6b7169203331", "01");
        assert_eq!(status, 201);
        let lines = format!("traceparent: 00-{TRACE}-c7ad6b7169203331-01\r\nX-Request-ID: req-of-ann\r\n");
        let path = format!("/orders/{order}/checkout");
        let paid = engine.ask("POST", &path, "ann", &lines, r#"{"payment_method":"card"}"#);
        assert_eq!(paid.status, 200, "{}", paid.body);
        // A refusal that is not drawn, and a buyer whose caller wants no spans.
        assert_eq!(buy_in(&engine, "ann", "d7ad6b7169203331", "01").0, 409);
        assert_eq!(buy_in(&engine, "bob", "e7ad6b7169203331", "00").0, 201);
        // What was told before is there when this is.
        assert_eq!(buy_in(&engine, "cid", "f7ad6b7169203331", "01").0, 201);
        until("all spans are there", || {
            let spans = collector.spans();
            let is_there = |name: &str| spans.iter().any(|span| span.name == name);
            of_buyer(&spans, PURCHASE, "cid").is_some() && is_there(CHECKOUT) && is_there("payment")
        });
        let spans = collector.spans();
        assert!(collector.services().iter().all(|name| name == "seckill"));

        let purchases: Vec<_> = spans.iter().filter(|span| span.name == PURCHASE).collect();
        assert_eq!(purchases.len(), 2, "of ann and of cid: {purchases:?}");
        let purchase = of_buyer(&spans, PURCHASE, "ann").unwrap();
        assert_eq!(hex(&purchase.trace_id), TRACE, "{front_end}");
        assert_eq!(hex(&purchase.parent_span_id), "b7ad6b7169203331");
        assert_eq!(purchase.kind, SpanKind::Server as i32);
        for (key, value) in [
            ("http.route", "/seckill/{campaign}/{sku}"),
            ("http.response.status_code", "201"),
            ("url.path", "/seckill/test/phone"),
            ("seckill.outcome", "durable"),
            ("seckill.order_id", &order),
        ] {
            assert_eq!(text(&purchase.attributes, key).as_deref(), Some(value), "{key}");
        }
        let commit = part_of(&spans, purchase, "commit");
        let batch = spans.iter().find(|span| span.span_id == commit.links[0].span_id).expect("the batch");
        assert_eq!(
            (batch.name.as_str(), text(&batch.attributes, "seckill.batch.orders")),
            ("commit batch", Some("1".into()))
        );
        assert_eq!(batch.links[0].span_id, purchase.span_id, "and back");

        let checkout = of_buyer(&spans, CHECKOUT, "ann").unwrap();
        assert_eq!(
            (hex(&checkout.trace_id), hex(&checkout.parent_span_id)),
            (TRACE.into(), "c7ad6b7169203331".into())
        );
        let payment = part_of(&spans, checkout, "payment");
        assert_eq!(text(&payment.attributes, "seckill.payment").as_deref(), Some("paid"));
        for (name, call) in
            [("gateway hold", "hold"), ("gateway capture", "capture"), ("risk assess", "assess")]
        {
            let span = part_of(&spans, payment, name);
            assert_eq!((span.kind, &span.status), (SpanKind::Client as i32, &None), "{name}");
            let passed_on = format!("00-{TRACE}-{}-01", hex(&span.span_id));
            assert_eq!(gateway.traceparent(call), Some(passed_on), "{name}");
        }
        // The payment has begun, its direction was decided, it has ended: each was durable first.
        let is_step = |span: &&Span| span.name == "commit" && span.parent_span_id == payment.span_id;
        assert_eq!(spans.iter().filter(is_step).count(), 3);

        // Whoever reads the log finds the request.
        gateway.overstate(1);
        let (_, order) = buy_in(&engine, "dan", "a7ad6b7169203331", "01");
        let path = format!("/orders/{order}/checkout");
        let lines = format!("traceparent: 00-{TRACE}-a8ad6b7169203331-01\r\nX-Request-ID: req-of-dan\r\n");
        assert_eq!(engine.ask("POST", &path, "dan", &lines, r#"{"payment_method":"card"}"#).status, 202);
        let line = engine.logged("do not speak of the same payment");
        assert!(line.contains("req-of-dan") && line.contains(TRACE), "{line}");
    }
}

/// Spans with this outcome, as the engine counts them.
fn counted(engine: &Engine, outcome: &str) -> u64 {
    let page = engine.read("/metrics").body;
    let start = format!("seckill_trace_spans_total{{outcome=\"{outcome}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

#[test]
fn t2_a_collector_that_hangs_loses_spans_and_nothing_else() {
    let collector = Collector::start(Mood::Hangs);
    let more = [
        ("TRACES__QUEUE_SPANS_MAX", "64"),
        ("TRACES__BATCH_SPANS_MAX", "64"),
        ("TRACES__TIMEOUT_MS", "60000"),
        ("ADMISSION__BUYER_RATE_PER_S", "0"),
    ];
    let engine = launch("hyper", &collector, &more).start();
    engine.sale("phone", 300, "");
    for number in 0..100 {
        buy(&engine, "phone", &format!("buyer-{number}"));
    }
    assert!(counted(&engine, "dropped") > 0);
    assert_eq!((counted(&engine, "sent"), collector.spans().len()), (0, 0));
    // Nor does it hold up the end.
    let (status, launch) = engine.terminate();
    assert!(status.success(), "{status}");
    drop(collector);

    // One that takes them, and refusals that are all drawn.
    let collector = Collector::start(Mood::Takes);
    let (url, headers) = (collector.url(), format!("[{:?}]", Collector::HEADER));
    let engine = launch
        .with(&[
            ("TRACES__ENDPOINT", url.as_str()),
            ("TRACES__HEADERS", headers.as_str()),
            ("TRACES__REFUSALS_ONE_IN", "1"),
        ])
        .start();
    assert_eq!(engine.buy("phone", "buyer-1").status, 409);
    // A stop sends what waits: nobody waited for the next time to send.
    assert!(engine.terminate().0.success());
    let spans = collector.spans();
    let outcomes: Vec<_> =
        spans.iter().filter_map(|span| text(&span.attributes, "seckill.outcome")).collect();
    assert_eq!(outcomes, ["already-purchased"]);
}
