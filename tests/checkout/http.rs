//! The HTTP gateway and risk service: against servers that keep the contract, and against servers that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use seckill::checkout::http_gateway::HttpGateway;
use seckill::checkout::http_risk::HttpRisk;
use seckill::checkout::{
    AttemptId, CallError, Charge, HttpSettings, Money, PayAnswer, Payment, PaymentGateway, PaymentKey,
    PaymentState, RiskService, RiskVerdict,
};
use seckill::domain::{BuyerId, Cents, Currency, NodeId, OrderId, OrderStatus};
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use super::example_gateway::{ExampleGateway, Weather};
use super::fixture::{Fixture, impatient};
use PaymentState::{Captured, Declined, Held, NotFound, Voided};

fn settings(url: String) -> HttpSettings {
    HttpSettings {
        url,
        token: ExampleGateway::TOKEN.into(),
        answer_bytes_max: 1_000,
        ..HttpSettings::default()
    }
}

fn charge(serial: u64, buyer: &str, method: &str) -> Charge {
    Charge {
        key: PaymentKey {
            store: None,
            attempt: AttemptId { order: OrderId::from_tick(serial, NodeId::new(0).unwrap()), attempt: 1 },
        },
        quantity: 2,
        money: Money { amount: Cents(3_998), currency: Currency::USD },
        buyer: BuyerId::new(buyer).unwrap(),
        method: method.into(),
    }
}

fn state(told: Result<Payment, CallError>) -> PaymentState {
    told.expect("an answer of the contract").state
}

#[tokio::test]
async fn a_gateway_of_the_contract_is_understood() {
    let example = ExampleGateway::start(Weather::Fair);
    let gateway = HttpGateway::new(settings(example.url())).unwrap();
    let ann = charge(1, "ann", "card");
    assert_eq!(state(gateway.status(ann.key).await), NotFound);
    assert_eq!(state(gateway.hold(&ann).await), Held);
    assert_eq!(state(gateway.hold(&ann).await), Held);
    assert_eq!(
        example.hold(&ann.key.to_string()).unwrap(),
        serde_json::json!({
            "order_id": ann.key.attempt.order.to_string(), "attempt": 1, "buyer": "ann", "quantity": 2,
            "amount_cents": 3_998, "currency": "USD", "payment_method": "card",
        })
    );
    assert_eq!(state(gateway.capture(ann.key).await), Captured);
    assert_eq!(state(gateway.capture(ann.key).await), Captured);
    assert_eq!(state(gateway.void(ann.key).await), Captured);
    assert_eq!(example.captures(&ann.key.to_string()), 1);

    let bob = charge(2, "bob", "card");
    assert_eq!(state(gateway.capture(bob.key).await), NotFound);
    assert_eq!(state(gateway.void(bob.key).await), Voided);
    assert_eq!(state(gateway.hold(&bob).await), Voided, "a late hold takes no effect");

    let other = Charge { buyer: BuyerId::new("bob").unwrap(), ..ann.clone() };
    assert!(matches!(gateway.hold(&other).await, Err(CallError::KeyReused(_))), "another buyer");
    let dearer = Money { amount: Cents(3_999), ..ann.money };
    let other = Charge { money: dearer, ..ann.clone() };
    assert!(matches!(gateway.hold(&other).await, Err(CallError::KeyReused(_))), "another amount");

    let cat = charge(3, "cat", "stolen-card");
    assert_eq!(state(gateway.hold(&cat).await), Declined { reason: "card-stolen".into() });
    assert_eq!(state(gateway.void(cat.key).await), Declined { reason: "card-stolen".into() });
}

#[tokio::test]
async fn a_risk_service_of_the_contract_is_understood() {
    let example = ExampleGateway::start(Weather::Fair);
    let risk = HttpRisk::new(settings(example.url())).unwrap();
    let policy = risk.policy().await.unwrap();
    assert_eq!(policy.ask_above, Cents(1_000));
    assert!(policy.denied_buyers.contains("mallory") && policy.denied_methods.is_empty());
    assert_eq!(risk.assess(&charge(1, "ann", "card")).await, Ok(RiskVerdict::Approve));
    let reject = RiskVerdict::Reject { reason: "account-too-new".into() };
    assert_eq!(risk.assess(&charge(1, "eve", "card")).await, Ok(reject));
}

#[tokio::test]
async fn a_wrong_token_or_address_is_an_error_for_good() {
    let example = ExampleGateway::start(Weather::Fair);
    let ann = charge(1, "ann", "card");
    let wrong_token = HttpSettings { token: "guess".into(), ..settings(example.url()) };
    let wrong_path = settings(example.url().replace("/v1", "/v2"));
    for settings in [wrong_token, wrong_path] {
        let gateway = HttpGateway::new(settings).unwrap();
        for answer in [gateway.hold(&ann).await, gateway.status(ann.key).await, gateway.void(ann.key).await] {
            assert!(matches!(answer, Err(CallError::Invalid(_))), "{answer:?}");
        }
    }
    assert_eq!(example.state(&ann.key.to_string()), None);
}

/// What a server does with a connection after it has read the request.
enum Rude {
    Says(String),
    HangsUp,
    Resets,
    SaysHalf,
}

/// Serves one rude answer to every connection until the process ends.
fn rude_server(rude: Rude) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4_096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&part[..read]),
                }
            }
            match &rude {
                Rude::Says(answer) => {
                    // The client may have gone, which is fine.
                    let _ = stream.write_all(answer.as_bytes());
                }
                Rude::HangsUp => {}
                Rude::Resets => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                Rude::SaysHalf => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"key\":");
                }
            }
        }
    });
    address
}

fn says(status: &str, body: &str) -> Rude {
    Rude::Says(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[tokio::test]
async fn answers_outside_the_contract_never_pass_for_an_outcome() {
    let ann = charge(1, "ann", "card");
    let key = ann.key.to_string();
    let money = r#""amount_cents":3998,"currency":"USD""#;
    let held = format!(r#"{{"key":"{key}","state":"held",{money}}}"#);
    let other_key = format!(r#"{{"key":"0000000000000-9","state":"held",{money}}}"#);
    let no_money = format!(r#"{{"key":"{key}","state":"held"}}"#);
    let half_money = format!(r#"{{"key":"{key}","state":"captured","amount_cents":3998}}"#);
    let odd_money = format!(r#"{{"key":"{key}","state":"voided","amount_cents":3998,"currency":"dollars"}}"#);
    let long = format!(r#"{{"key":"{key}","state":"held",{money},"pad":"{}"}}"#, "x".repeat(1_000));
    let new_word = format!(r#"{{"key":"{key}","state":"refunded"}}"#);
    let unknown = [
        ("hangs up", Rude::HangsUp),
        ("reset", Rude::Resets),
        ("half an answer", Rude::SaysHalf),
        ("no HTTP", Rude::Says("220 smtp.example.com ready\r\n\r\n".into())),
        ("garbage", says("200 OK", "<html>login</html>")),
        ("empty", says("200 OK", "")),
        ("other key", says("200 OK", &other_key)),
        ("held without money", says("200 OK", &no_money)),
        ("captured without currency", says("200 OK", &half_money)),
        ("no currency", says("200 OK", &odd_money)),
        ("too long", says("200 OK", &long)),
        ("a word of the future", says("200 OK", &new_word)),
        ("500", says("500 Internal Server Error", &held)),
        ("503", says("503 Service Unavailable", "")),
        ("202", says("202 Accepted", &held)),
        (
            "redirect",
            Rude::Says(
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".into(),
            ),
        ),
        ("408", says("408 Request Timeout", "")),
        ("409", says("409 Conflict", &held)),
    ];
    for (name, rude) in unknown {
        let gateway = HttpGateway::new(settings(format!("http://{}", rude_server(rude)))).unwrap();
        for answer in [gateway.hold(&ann).await, gateway.capture(ann.key).await, gateway.void(ann.key).await]
        {
            assert!(matches!(answer, Err(CallError::Unknown(_))), "{name}: {answer:?}");
        }
    }
    let busy =
        HttpGateway::new(settings(format!("http://{}", rude_server(says("429 Slow Down", ""))))).unwrap();
    assert!(matches!(busy.hold(&ann).await, Err(CallError::Busy(_))));
    let reused = rude_server(says("422 No", r#"{"error":"key-reused"}"#));
    let reused = HttpGateway::new(settings(format!("http://{reused}"))).unwrap();
    assert!(matches!(reused.hold(&ann).await, Err(CallError::KeyReused(_))));
    let processing = format!(r#"{{"key":"{key}","state":"processing"}}"#);
    let processing = rude_server(says("200 OK", &processing));
    let processing = HttpGateway::new(settings(format!("http://{processing}"))).unwrap();
    assert_eq!(state(processing.status(ann.key).await), PaymentState::Processing);
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "422 No"] {
        let gateway =
            HttpGateway::new(settings(format!("http://{}", rude_server(says(status, ""))))).unwrap();
        let answer = gateway.hold(&ann).await;
        assert!(matches!(answer, Err(CallError::Invalid(_))), "{status}: {answer:?}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_means_nothing_was_done() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = HttpGateway::new(settings(format!("http://{gone}"))).unwrap();
    let answer = gateway.hold(&charge(1, "ann", "card")).await;
    assert!(matches!(answer, Err(CallError::Unreachable(_))), "{answer:?}");
}

#[tokio::test]
async fn payments_through_a_foul_network_end_paid_once_or_not_at_all() {
    const BUYERS: u32 = 40;
    let fixture = Arc::new(Fixture::open(BUYERS, 3_600).await);
    let example = ExampleGateway::start(Weather::Foul);
    let gateway = Arc::new(HttpGateway::new(settings(example.url())).unwrap());
    let risk = Arc::new(HttpRisk::new(settings(example.url())).unwrap());
    let mut impatient = impatient();
    // A call that is never answered must not use up the patience of the whole test.
    impatient.risk.retry.try_ms = 500;
    impatient.gateway.retry.try_ms = 500;
    let life = fixture.live(gateway, risk, impatient).await;
    let mut buyers = tokio::task::JoinSet::new();
    for number in 0..BUYERS {
        let (fixture, checkout) = (Arc::clone(&fixture), life.checkout.clone());
        buyers.spawn(async move {
            let order = fixture.buy(&format!("buyer-{number}")).await;
            let method = if number % 8 == 0 { "stolen-card" } else { "card" };
            let ended = async {
                loop {
                    let order = fixture.order(order.placed.id).await;
                    match checkout.pay(order, method).await {
                        PayAnswer::Paid(_) | PayAnswer::Declined { .. } => break,
                        _ => sleep(Duration::from_millis(20)).await,
                    }
                }
            };
            timeout(PATIENCE, ended).await.expect("the payment comes to an end");
        });
    }
    buyers.join_all().await;
    for (number, order) in fixture.orders().await.into_iter().enumerate() {
        let keys =
            (1..=order.payment_attempt).map(|attempt| fixture.key(order.placed.id, attempt).to_string());
        let mut taken = 0;
        for key in keys {
            assert_ne!(example.state(&key), Some("held"), "buyer {number}");
            taken += example.captures(&key);
        }
        let is_paid = order.status == OrderStatus::Paid;
        assert_eq!(taken, usize::from(is_paid), "{order:?}");
        assert_eq!(is_paid, order.payment_method.as_deref() == Some("card"));
    }
    fixture.check_conserved().await;
}
