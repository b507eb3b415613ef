//! `GET /api/v1/reconcile`: the three books of each sale, compared now.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::control_plane::ControlPlane;
use super::problem::Problem;
use super::tenant::{Tenant, name_in_query};
use crate::admission::LiveSale;
use crate::domain::{NodeId, SaleUnits};
use crate::ledger::lease::{Book, Drift, MemoryView};
use crate::ledger::{LedgerBook, ThreeBooks};

/// Which sales; all of the tenant when nothing is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    campaign: Option<String>,
    sku: Option<String>,
}

/// `GET /api/v1/reconcile`
pub(super) async fn reconcile(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = query.map_err(|rejection| Problem::field("query", rejection.body_text()))?;
    let (campaign, sku) = (name_in_query("campaign", wanted.campaign)?, name_in_query("sku", wanted.sku)?);
    let named = |part: &Option<String>, name: &str| part.as_deref().is_none_or(|part| part == name);
    let mut sales: Vec<Arc<LiveSale>> = plane.admission.board().sales().iter().cloned().collect();
    sales.retain(|sale| {
        let key = &sale.key;
        key.tenant() == tenant && named(&campaign, key.campaign()) && named(&sku, key.sku())
    });
    sales.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut compared = Vec::with_capacity(sales.len());
    for sale in sales {
        if let Some(books) = plane.in_bulk(plane.sales.ledger().books(&sale)).await? {
            compared.push(books_json(&sale, &books));
        }
    }
    Ok(Json(json!({ "node": plane.node.number(), "sales": compared })))
}

fn books_json(sale: &LiveSale, books: &ThreeBooks) -> Value {
    let ledger = match &books.ledger {
        LedgerBook::Embedded => json!({ "state": "embedded" }),
        LedgerBook::Unavailable => json!({ "state": "unavailable" }),
        LedgerBook::Read(book) => book_json(book),
    };
    json!({
        "tenant": sale.key.tenant(),
        "campaign": sale.key.campaign(),
        "sku": sale.key.sku(),
        "equal": books.drift.map(|drift| drift.is_none()),
        "drift": books.drift.map(drift_json),
        "memory": books.memory.map(memory_json),
        "ledger": ledger,
        "store": store_json(&books.store),
    })
}

fn drift_json(drift: Drift) -> Value {
    let kinds = drift.kinds().into_iter().map(|(kind, units)| (kind.to_owned(), units.into()));
    Value::Object(kinds.collect::<Map<_, _>>())
}

fn memory_json(memory: MemoryView) -> Value {
    json!({ "on_sale": memory.on_sale, "in_flight": memory.in_flight, "held": memory.held })
}

fn store_json(store: &SaleUnits) -> Value {
    fn by_node(nodes: impl Iterator<Item = (NodeId, u64)>) -> Vec<Value> {
        nodes.map(|(node, units)| json!({ "node": node.number(), "units": units })).collect()
    }
    json!({
        "epoch": store.epoch,
        "total": store.total,
        "revision": store.revision,
        "sold": store.sold,
        "returned": store.returned,
        "settled": by_node(store.settled.iter().copied()),
        "granted": by_node(store.shares.iter().map(|share| (share.node, share.granted))),
    })
}

fn book_json(book: &Book) -> Value {
    let nodes: Vec<_> = book
        .accounts
        .iter()
        .map(|(node, account)| {
            json!({
                "node": node.number(),
                "incarnation": account.incarnation,
                "granted": account.granted,
                "handed_back": account.handed_back,
                "settled": account.settled,
                "leased": account.leased(),
                "awaited": account.awaited,
            })
        })
        .collect();
    json!({
        "state": if book.lost { "lost" } else { "read" },
        "epoch": book.epoch,
        "total": book.total,
        "revision": book.revision,
        "returned": book.returned,
        "available": book.available(),
        "leased": book.leased(),
        "sold": book.sold(),
        "nodes": nodes,
    })
}
