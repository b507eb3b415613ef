#![doc = include_str!("GATEWAY.md")]

use reqwest::Method;
use serde::Deserialize;

use super::gateway::{Charge, Money, Payment, PaymentGateway, PaymentKey, PaymentState};
use super::http_peer::{ChargeBody, HttpPeer, word};
use super::remote_call::{Answer, CallError};
use super::service_settings::HttpSettings;
use crate::domain::{Cents, Currency};

/// A payment gateway behind the HTTP contract above.
#[derive(Debug)]
pub struct HttpGateway {
    peer: HttpPeer,
}

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
        method: Method,
        key: PaymentKey,
        verb: &str,
        hold: Option<&Charge>,
    ) -> Result<Payment, CallError> {
        let mut request = self
            .peer
            .request(method, &format!("/payments/{key}{verb}"))
            .header("idempotency-key", key.to_string());
        if let Some(charge) = hold {
            request = request.json(&ChargeBody::of(charge));
        }
        let body: PaymentBody = self.peer.answer(request).await?;
        if body.key != key.to_string() {
            return Err(CallError::Unknown(format!("asked about payment {key}, told about {:?}", body.key)));
        }
        let money = body.money()?;
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
}

impl PaymentBody {
    /// The money that is told; `None` when nothing of it is.
    fn money(&self) -> Result<Option<Money>, CallError> {
        let currency = self.currency.as_deref();
        match (self.amount_cents, currency.map(Currency::parse)) {
            (None, None) => Ok(None),
            (Some(amount), Some(Some(currency))) => Ok(Some(Money { amount: Cents(amount), currency })),
            _ => Err(CallError::Unknown(format!(
                "no money: amount_cents {:?}, currency {currency:?}",
                self.amount_cents
            ))),
        }
    }
}

impl PaymentGateway for HttpGateway {
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, Payment> {
        Box::pin(self.call(Method::POST, charge.key, "/hold", Some(charge)))
    }

    fn capture(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Method::POST, key, "/capture", None))
    }

    fn void(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Method::POST, key, "/void", None))
    }

    fn status(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Method::GET, key, "", None))
    }
}
