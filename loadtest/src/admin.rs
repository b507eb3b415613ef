//! The engine's admin plane as the tester uses it: open and end campaigns, read the books.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::scenario::Campaign;
use crate::wire::call::{CallError, CallReply, Caller};
use crate::wire::request::{BadTarget, Reach, Target};

/// The SKU of every campaign that the tester opens: by it the engine's console shows them apart.
pub const SKU: &str = "load-test";
/// Orders asked for in one page of the export.
const EXPORT_PAGE_ORDERS: usize = 5_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an engine may be too busy for what it is asked.
const BUSY_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(200);

/// An admin call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another answer than expected.
    #[error("{what}: the engine answered {status}: {body}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its status.
        status: u16,
        /// The start of its body.
        body: String,
    },
    /// A body that does not hold what it should.
    #[error("{what}: {why}")]
    Unreadable {
        /// What was asked.
        what: String,
        /// What is wrong.
        why: String,
    },
}

/// The books of one sale, counted by the engine in its store. All in units but `durable_orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The contract's own names.
pub struct Audit {
    pub total: u64,
    pub available: u64,
    #[serde(default)]
    pub leased: u64,
    pub held: u64,
    pub paid: u64,
    pub sold: u64,
    pub durable_orders: u64,
    pub buyers_over_limit: u64,
    pub conserved: bool,
}

/// One exported order; what the checks do not need is not read.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)] // The contract's own names.
pub struct ExportedOrder {
    pub order_id: String,
    pub buyer: String,
    pub quantity: u32,
    /// Units that a refund put back on sale.
    #[serde(default)]
    pub restocked: u32,
    pub status: String,
}

/// A line of the log of registrations.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)] // The contract's own names.
pub struct ExportedRegistration {
    pub mark: String,
    pub who: String,
    pub joined_at: String,
    /// Of who takes part in the draw.
    pub priority: Option<u64>,
}

/// How far a waiting room has come.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)] // The contract's own names.
pub struct ExportedQueue {
    pub tenant: String,
    pub draw_mark: u64,
    pub fifo_mark: Option<String>,
}

/// The admin plane of an engine.
#[derive(Debug)]
pub struct Admin {
    caller: Caller,
}

impl Admin {
    /// The admin plane at `http://host:port` or `https://host:port`, for one tenant; `reach` as [`Target::resolve`] takes it.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn connect(url: &str, reach: &Reach, tenant: &str, token: Option<&str>) -> Result<Self, BadTarget> {
        let token = token.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<String> = std::iter::once(format!("X-Tenant-ID: {tenant}")).chain(token).collect();
        Ok(Self { caller: Caller::new(Target::resolve(url, reach)?, &headers, CALL_TIMEOUT) })
    }

    fn expect(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&str>,
        wanted: u16,
    ) -> Result<CallReply, AdminError> {
        let deadline = Instant::now() + BUSY_WITHIN;
        let reply = loop {
            let reply = self.caller.call(method, path, body)?;
            if reply.status == wanted {
                return Ok(reply);
            }
            // An engine that is busy selling has operators wait.
            if method != "GET" || reply.status != 503 || Instant::now() > deadline {
                break reply;
            }
            std::thread::sleep(ASK_EVERY);
        };
        let what = format!("{method} {path}");
        Err(AdminError::Refused { what, status: reply.status, body: reply.excerpt() })
    }

    /// Opens a campaign under `name`, on sale from `starts_at` (RFC 3339) if given.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn open(
        &mut self,
        name: &str,
        campaign: &Campaign,
        starts_at: Option<&str>,
    ) -> Result<(), AdminError> {
        let mut body = serde_json::json!({
            "campaign": name,
            "sku": SKU,
            "title": format!("Load test {name}"),
            "price_cents": campaign.price_cents,
            "stock": campaign.stock,
            "per_buyer_limit": campaign.per_buyer_limit,
        });
        let optional = [
            ("starts_at", starts_at.map(Into::into)),
            ("pay_within_s", campaign.pay_within_s.map(Into::into)),
            ("rate_per_s", campaign.rate_per_s.map(Into::into)),
            ("burst", campaign.burst.map(Into::into)),
            ("queue", campaign.queue.as_ref().and_then(|queue| serde_json::to_value(queue).ok())),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                body[key] = value;
            }
        }
        self.expect("POST", "/api/v1/campaigns", Some(&body.to_string()), 201).map(drop)
    }

    /// Ends a campaign, so that nothing more is sold; pauses it where the engine will not end it.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn end(&mut self, name: &str, now: &str) -> Result<(), AdminError> {
        let path = format!("/api/v1/campaigns/{name}/{SKU}");
        let ended = serde_json::json!({ "ends_at": now }).to_string();
        if self.expect("PATCH", &path, Some(&ended), 200).is_ok() {
            return Ok(());
        }
        self.expect("PATCH", &path, Some(r#"{"paused":true}"#), 200).map(drop)
    }

    /// Reads a sale's books.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn audit(&mut self, name: &str) -> Result<Audit, AdminError> {
        let path = format!("/api/v1/campaigns/{name}/{SKU}/audit");
        let reply = self.expect("GET", &path, None, 200)?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| AdminError::Unreadable { what: format!("GET {path}"), why: error.to_string() })
    }

    /// Hands every line of the log of registrations at a campaign's waiting room to `each`, page by page.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn registrations(
        &mut self,
        name: &str,
        mut each: impl FnMut(ExportedRegistration),
    ) -> Result<(), AdminError> {
        let mut after = String::new();
        loop {
            let path = format!(
                "/api/v1/campaigns/{name}/{SKU}/registrations?after={after}&limit={EXPORT_PAGE_ORDERS}"
            );
            let reply = self.expect("GET", &path, None, 200)?;
            let mut lines = 0;
            for line in reply.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                let line: ExportedRegistration = serde_json::from_slice(line).map_err(|error| {
                    AdminError::Unreadable { what: format!("GET {path}"), why: error.to_string() }
                })?;
                after.clone_from(&line.mark);
                lines += 1;
                each(line);
            }
            if lines < EXPORT_PAGE_ORDERS {
                return Ok(());
            }
        }
    }

    /// How far a campaign's waiting room has come.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn queue(&mut self, name: &str) -> Result<ExportedQueue, AdminError> {
        let path = format!("/api/v1/campaigns/{name}/{SKU}/queue");
        let reply = self.expect("GET", &path, None, 200)?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| AdminError::Unreadable { what: format!("GET {path}"), why: error.to_string() })
    }

    /// Hands every durable order of a campaign to `each`, page by page.
    ///
    /// # Errors
    /// See [`AdminError`], and what `each` fails with.
    pub fn export<E: From<AdminError>>(
        &mut self,
        name: &str,
        mut each: impl FnMut(ExportedOrder) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = String::new();
        loop {
            let path =
                format!("/api/v1/orders?campaign={name}&sku={SKU}&after={after}&limit={EXPORT_PAGE_ORDERS}");
            let reply = self.expect("GET", &path, None, 200)?;
            let unreadable = |why: String| AdminError::Unreadable { what: format!("GET {path}"), why };
            let before = after.clone();
            for line in reply.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                let order: ExportedOrder =
                    serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
                after.clone_from(&order.order_id);
                each(order)?;
            }
            if reply.body.trim_ascii().is_empty() {
                return Ok(());
            }
            if after == before {
                return Err(unreadable("the export does not advance".into()).into());
            }
        }
    }
}
