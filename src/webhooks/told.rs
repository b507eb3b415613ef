//! What is told: the events of orders and the acts on sales, read from their logs as an endpoint wants them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::kinds::{ACTS, About};
use crate::domain::StoreIdentity;
use crate::orders::{
    EnvelopeHead, OrderDesk, StoreError, ToldLog, TrailEntry, event_id, event_json, rfc3339,
};

/// One event for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its number in its log.
    pub seq: u64,
    /// The sale: events of one come in order.
    pub lane: Arc<str>,
    /// What tells it from every other, the same for all endpoints and attempts.
    pub id: String,
    /// What is posted.
    pub body: String,
}

/// A part of a log.
#[derive(Debug)]
pub(super) struct Page {
    /// What the endpoint wants of it.
    pub told: Vec<Told>,
    /// Up to this number it was read.
    pub through: u64,
}

/// Reads at most `limit` events above `after`.
///
/// # Errors
/// The store does not answer.
pub(super) async fn read(
    desk: &OrderDesk,
    store: StoreIdentity,
    endpoint: &Endpoint,
    log: ToldLog,
    after: u64,
    limit: usize,
) -> Result<Page, StoreError> {
    let mut page = Page { told: Vec::new(), through: after };
    match log {
        ToldLog::Orders => {
            for (event, sale) in desk.events_with_sales(after, limit).await? {
                // Another node has just made it: it will be known in a moment.
                let Some(sale) = sale else { break };
                page.through = event.seq;
                let (kind, key) = (event.kind.as_str(), &sale.key);
                let about =
                    About { kind, tenant: Some(key.tenant()), sale: Some((key.campaign(), key.sku())) };
                if !endpoint.wants(&about) {
                    continue;
                }
                let lane = key.to_string();
                let (id, subject) = (event_id(store, &event), event.order.placed.id.to_string());
                let head = EnvelopeHead { store, id: &id, kind, subject: &subject, key: &lane };
                let body = endpoint.envelope().wrap(&head, event_json(&sale, &event));
                page.told.push(Told { seq: event.seq, lane: lane.into(), id, body });
            }
        }
        ToldLog::Sales => {
            for entry in desk.all_acts_after(after, limit).await? {
                page.through = entry.seq;
                page.told.extend(of_act(store, endpoint, &entry));
            }
        }
    }
    Ok(page)
}

/// What is told of an act; nothing of one that is not about sales.
fn of_act(store: StoreIdentity, endpoint: &Endpoint, entry: &TrailEntry) -> Option<Told> {
    let (_, kind) = ACTS.iter().find(|(act, _)| *act == entry.kind)?;
    let tenant = entry.tenant.as_deref();
    let sale = entry.object.split_once('/').filter(|_| kind.starts_with("sale."));
    if !endpoint.wants(&About { kind, tenant, sale }) {
        return None;
    }
    let id = format!("act_{store}_{}_{}", entry.seq, entry.at.0);
    let of = if sale.is_some() { entry.object.as_str() } else { "*" };
    let lane = format!("{}:{of}", tenant.unwrap_or("*"));
    let head = EnvelopeHead { store, id: &id, kind, subject: &entry.object, key: &lane };
    let body = endpoint.envelope().wrap(&head, act_json(kind, entry, sale));
    Some(Told { seq: entry.seq, lane: lane.into(), id, body })
}

/// An act on sales as it is told: not who acted, nor why, which is the operators' own affair.
fn act_json(kind: &str, entry: &TrailEntry, sale: Option<(&str, &str)>) -> Value {
    json!({
        "seq": entry.seq,
        "type": kind,
        "tenant": entry.tenant,
        "campaign": sale.map(|(campaign, _)| campaign),
        "sku": sale.map(|(_, sku)| sku),
        "at": rfc3339(entry.at),
        "from": entry.from,
        "to": entry.to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EpochMs;
    use crate::orders::{Actor, Envelope};
    use crate::webhooks::WebhookEndpoint;

    #[test]
    fn an_act_is_told_without_who_and_why() {
        let endpoint = Endpoint::new(&WebhookEndpoint {
            name: "erp".into(),
            url: "https://erp.example/".into(),
            secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
            events: vec!["sale.*".into()],
            tenant: None,
            campaign: None,
            sku: None,
            envelope: Envelope::Plain,
            allow_http: false,
        })
        .unwrap();
        let text = str::to_owned;
        let entry = TrailEntry {
            seq: 5,
            at: EpochMs(1_000),
            actor: Actor { who: text("ann"), role: text("r"), address: text("::1"), request_id: text("q") },
            tenant: Some(text("shop")),
            kind: text("campaign.paused"),
            object: text("c/s"),
            from: json!({ "paused": false }),
            to: json!({ "paused": true }),
            reason: Some(text("the press is asking")),
        };
        let store = StoreIdentity::from_bytes(&[1; 16]).unwrap();
        let told = of_act(store, &endpoint, &entry).unwrap();
        assert_eq!((&*told.lane, told.seq), ("shop:c/s", 5));
        assert_eq!(told.id, "act_01010101010101010101010101010101_5_1000");
        assert_eq!(
            serde_json::from_str::<Value>(&told.body).unwrap(),
            json!({
                "seq": 5, "type": "sale.paused", "tenant": "shop", "campaign": "c", "sku": "s",
                "at": "1970-01-01T00:00:01.000Z", "from": { "paused": false }, "to": { "paused": true },
            })
        );
        for other in ["order.settled", "sales.stopped", "act.refused", "webhook.replayed"] {
            assert_eq!(of_act(store, &endpoint, &TrailEntry { kind: text(other), ..entry.clone() }), None);
        }
    }
}
