#![doc = include_str!("GATEWAY.md")]

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::gateway::{
    Charge, Money, Payment, PaymentGateway, PaymentKey, PaymentState, RefundOrder, RefundProgress, RefundTold,
};
use super::http_peer::{ChargeBody, HttpPeer, word};
use super::remote_call::{Answer, CallError};
use super::service_settings::HttpSettings;
use crate::domain::{Cents, Currency};

/// A payment gateway behind the HTTP contract above.
#[derive(Debug)]
pub struct HttpGateway {
    peer: HttpPeer,
}

/// What is asked of the gateway about a payment.
struct Verb {
    /// In traces.
    name: &'static str,
    method: Method,
    /// Behind the payment's own.
    path: &'static str,
}

const HOLD: Verb = Verb { name: "gateway hold", method: Method::POST, path: "/hold" };
const CAPTURE: Verb = Verb { name: "gateway capture", method: Method::POST, path: "/capture" };
const VOID: Verb = Verb { name: "gateway void", method: Method::POST, path: "/void" };
const STATUS: Verb = Verb { name: "gateway status", method: Method::GET, path: "" };

#[derive(Deserialize)]
struct PaymentBody {
    key: String,
    state: StateWord,
    reason: Option<String>,
    amount_cents: Option<u64>,
    currency: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateWord {
    NotFound,
    Processing,
    Held,
    Declined,
    Captured,
    Voided,
}

/// What the body of a refund says.
#[derive(Serialize)]
struct RefundBody<'a> {
    order_id: String,
    attempt: u32,
    refund: u32,
    amount_cents: u64,
    currency: &'a str,
}

#[derive(Deserialize)]
struct RefundToldBody {
    key: String,
    state: RefundWord,
    reason: Option<String>,
    amount_cents: Option<u64>,
    currency: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RefundWord {
    NotFound,
    Processing,
    Refunded,
    Refused,
}

impl HttpGateway {
    /// A gateway at `settings.url`.
    ///
    /// # Errors
    /// [`CallError::Invalid`] when no HTTP client can be made of the settings.
    pub fn new(settings: HttpSettings) -> Result<Self, CallError> {
        HttpPeer::new(settings).map(|peer| Self { peer })
    }

    async fn call(
        &self,
        Verb { name, method, path }: Verb,
        key: PaymentKey,
        hold: Option<&Charge>,
    ) -> Result<Payment, CallError> {
        let mut request = self
            .peer
            .request(method, &format!("/payments/{key}{path}"))
            .header("idempotency-key", key.to_string());
        if let Some(charge) = hold {
            request = request.json(&ChargeBody::of(charge));
        }
        let body: PaymentBody = self.peer.answer(name, request).await?;
        if body.key != key.to_string() {
            return Err(CallError::Unknown(format!("asked about payment {key}, told about {:?}", body.key)));
        }
        let money = money(body.amount_cents, body.currency.as_deref())?;
        let state = match body.state {
            StateWord::NotFound => PaymentState::NotFound,
            StateWord::Processing => PaymentState::Processing,
            StateWord::Held => PaymentState::Held,
            StateWord::Captured => PaymentState::Captured,
            StateWord::Voided => PaymentState::Voided,
            StateWord::Declined => PaymentState::Declined { reason: word(body.reason, "declined") },
        };
        if money.is_none() && matches!(state, PaymentState::Held | PaymentState::Captured) {
            let text = format!("payment {key} has money and is told without amount_cents and currency");
            return Err(CallError::Unknown(text));
        }
        Ok(Payment { state, money })
    }

    async fn call_refund(&self, refund: &RefundOrder) -> Result<RefundTold, CallError> {
        let RefundOrder { key, money: wanted } = refund;
        let body = RefundBody {
            order_id: key.payment.attempt.order.to_string(),
            attempt: key.payment.attempt.attempt,
            refund: key.number,
            amount_cents: wanted.amount.0,
            currency: wanted.currency.as_str(),
        };
        let request = self
            .peer
            .request(Method::POST, &format!("/payments/{}/refunds/{}", key.payment, key.number))
            .header("idempotency-key", key.to_string())
            .json(&body);
        let body: RefundToldBody = self.peer.answer("gateway refund", request).await?;
        if body.key != key.to_string() {
            return Err(CallError::Unknown(format!("asked for refund {key}, told about {:?}", body.key)));
        }
        let money = money(body.amount_cents, body.currency.as_deref())?;
        let progress = match body.state {
            RefundWord::NotFound => RefundProgress::NotFound,
            RefundWord::Processing => RefundProgress::Processing,
            RefundWord::Refunded => RefundProgress::Refunded,
            RefundWord::Refused => RefundProgress::Refused { reason: word(body.reason, "refused") },
        };
        if money.is_none() && progress == RefundProgress::Refunded {
            let text = format!("refund {key} is made and is told without amount_cents and currency");
            return Err(CallError::Unknown(text));
        }
        Ok(RefundTold { progress, money })
    }
}

/// The money that is told; `None` when nothing of it is.
fn money(amount: Option<u64>, currency: Option<&str>) -> Result<Option<Money>, CallError> {
    match (amount, currency.map(Currency::parse)) {
        (None, None) => Ok(None),
        (Some(amount), Some(Some(currency))) => Ok(Some(Money { amount: Cents(amount), currency })),
        _ => Err(CallError::Unknown(format!("no money: amount_cents {amount:?}, currency {currency:?}"))),
    }
}

impl PaymentGateway for HttpGateway {
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, Payment> {
        Box::pin(self.call(HOLD, charge.key, Some(charge)))
    }

    fn capture(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(CAPTURE, key, None))
    }

    fn void(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(VOID, key, None))
    }

    fn status(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(STATUS, key, None))
    }

    fn refund<'a>(&'a self, refund: &'a RefundOrder) -> Answer<'a, RefundTold> {
        Box::pin(self.call_refund(refund))
    }
}
