//! Several change a sale at once: nobody loses a change, nobody waits for another.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use seckill::admission::{Board, LiveSale};
use seckill::domain::{Sale, SaleEdit, SaleKey, SaleLimits, StockEdit, Units};
use seckill::ledger::{
    Awaited, EmbeddedLedger, Ledger, LedgerFault, SaleDesk, StockAudit, ThreeBooks, Withdrawal,
};
use seckill::orders::StoreError;
use serde_json::{Value, json};
use testbed::PATIENCE;

use super::engine::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn o1_a_change_names_the_version_that_it_was_made_from() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let path = "/api/v1/campaigns/c/s";
    let etag = engine.get(path).await.headers()["etag"].clone();
    let change = |body: Value, if_match: Option<reqwest::header::HeaderValue>| {
        let mut request = engine.request(Method::PATCH, path).body(body.to_string());
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        async { request.send().await.unwrap() }
    };
    let paused = change(json!({"paused": true}), Some(etag.clone())).await;
    assert_eq!(paused.status(), StatusCode::OK);
    let paused_tag = paused.headers()["etag"].clone();
    assert_ne!(paused_tag, etag);

    let stale = change(json!({"price_cents": 1}), Some(etag)).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    let problem: Value = stale.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["etag"]),
        (&json!("changed-meanwhile"), &json!(paused_tag.to_str().unwrap()))
    );
    let now = engine.get_json(path).await;
    assert_eq!((&now["price_cents"], &now["paused"]), (&json!(250), &json!(true)), "nothing has changed");

    // Without a version, changes are merged; relative ones add up, also at the same moment.
    let both =
        tokio::join!(change(json!({"stock_delta": 500}), None), change(json!({"stock_delta": 500}), None));
    assert_eq!((both.0.status(), both.1.status()), (StatusCode::OK, StatusCode::OK));
    let (status, lower) =
        engine.send(Method::PATCH, path, &json!({"stock_delta": -10, "price_cents": 7})).await;
    assert_eq!(
        (status, &lower["stock"], &lower["remaining"]),
        (StatusCode::OK, &json!(1_000), &json!(1_000))
    );
    assert_eq!((&lower["paused"], &lower["price_cents"]), (&json!(true), &json!(7)));
    // Selling is no change of the sale.
    assert_eq!(change(json!({"paused": false}), None).await.status(), StatusCode::OK);
    let before = engine.get(path).await.headers()["etag"].clone();
    engine.buy("s", "ada").await;
    assert_eq!(engine.get(path).await.headers()["etag"], before);
    for (body, field) in [
        (json!({"stock": 1, "stock_delta": 1}), "stock_delta"),
        (json!({"stock_delta": -5_000}), "stock_delta"),
        (json!({"stock_delta": 0.5}), "stock_delta"),
    ] {
        let (status, problem) = engine.send(Method::PATCH, path, &body).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
    }
    let malformed = change(json!({}), Some("17".parse().unwrap())).await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    engine.stop().await;
}

/// A ledger whose other nodes never give a unit back.
#[derive(Debug)]
struct Stuck(EmbeddedLedger);

impl Ledger for Stuck {
    fn open(&self, board: &Board, sale: Sale) {
        self.0.open(board, sale);
    }

    fn withdraw<'a>(&'a self, _: &'a LiveSale, _: Units) -> Awaited<'a, Option<Withdrawal>> {
        Box::pin(std::future::pending())
    }

    fn grow(&self, sale: &LiveSale, units: Units) {
        self.0.grow(sale, units);
    }

    fn audit<'a>(&'a self, _: &'a LiveSale) -> Awaited<'a, Result<Option<StockAudit>, StoreError>> {
        panic!("no change reads all orders");
    }

    fn books<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<ThreeBooks>, StoreError>> {
        self.0.books(sale)
    }

    fn answers(&self) -> Awaited<'_, Option<Result<(), LedgerFault>>> {
        self.0.answers()
    }

    fn commands(&self) -> Option<u64> {
        self.0.commands()
    }

    fn concerns(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o2_a_pause_waits_for_no_other_change() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let ledger = Arc::new(Stuck(EmbeddedLedger::new(engine.desk.clone(), 2)));
    let desk =
        SaleDesk::new(Arc::clone(&engine.admission), engine.desk.clone(), ledger, 3, SaleLimits::default());
    let (desk, key) = (Arc::new(desk), SaleKey::new("default", "c", "s").unwrap());
    let lower = tokio::spawn({
        let (desk, key) = (Arc::clone(&desk), key.clone());
        let edit = SaleEdit { stock: Some(StockEdit::To(1)), ..SaleEdit::default() };
        async move { desk.change(&key, edit, None, None).await.map(drop) }
    });
    let edit = |paused| SaleEdit { paused: Some(paused), ..SaleEdit::default() };
    for paused in [true, false, true] {
        let changed = tokio::time::timeout(PATIENCE, desk.change(&key, edit(paused), None, None));
        assert_eq!(changed.await.expect("it waits for nobody").unwrap().terms.paused, paused);
    }
    assert!(!lower.is_finished(), "the units have not been given up");
    lower.abort();
    assert!(lower.await.unwrap_err().is_cancelled());
    engine.stop().await;
}
