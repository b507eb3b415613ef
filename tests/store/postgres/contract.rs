//! The store of several nodes under the same contract.

use std::sync::Arc;

use proptest::test_runner::{Config, TestRunner};
use seckill::domain::{NodeId, Order, OrderId, Sale, SaleId, SaleKey, SaleTerms, Units};
use seckill::orders::postgres::{self, Exclusivity, PgReader, PgWriter};
use seckill::orders::{Audit, Batch, ChangeReceipt, Event, Receipt, SaleChange, StoreReader, StoreWriter};
use testbed::servers::postgres::Postgres;

use super::node::{number_events, settings};
use crate::contract::{self, Answer, End, StoreUnderTest};

struct Shared {
    server: Arc<Postgres>,
    url: String,
    writer: Box<PgWriter>,
    reader: PgReader,
}

impl Shared {
    fn empty() -> Self {
        let server = Postgres::shared();
        let url = server.new_database();
        Self::open(server, url)
    }

    fn open(server: Arc<Postgres>, url: String) -> Self {
        let store = postgres::open(&settings(&url), NodeId::new(1).unwrap(), 1, Exclusivity::Alone)
            .expect("the store opens");
        let writer = store.writers.into_iter().next().map(Box::new).expect("one writer was asked for");
        Self { server, url, writer, reader: store.reader }
    }
}

impl StoreUnderTest for Shared {
    const IS_SHARED: bool = true;

    fn create_sale(&mut self, key: &SaleKey, terms: &SaleTerms, total: Units) -> Option<Sale> {
        self.writer.create_sale(key, terms, total, None).unwrap()
    }

    fn change_sale(&mut self, change: &SaleChange) -> ChangeReceipt {
        self.writer.change_sale(change).unwrap()
    }

    fn commit(&mut self, batch: &Batch) -> Answer {
        match self.writer.commit(batch).unwrap() {
            Receipt::Committed { applied, refused } => {
                Answer::Committed(applied, refused.into_iter().map(|refused| refused.order).collect())
            }
            Receipt::Oversold(sales) => Answer::Oversold(sales),
            Receipt::Fenced { .. } => panic!("nobody ended this life"),
        }
    }

    fn sales(&self) -> Vec<Sale> {
        self.reader.sales().unwrap()
    }

    fn order(&self, id: OrderId) -> Option<Order> {
        self.reader.order(id).unwrap()
    }

    fn orders_after(&self, sale: Option<SaleId>, after: Option<OrderId>, limit: usize) -> Vec<Order> {
        self.reader.orders_after(sale, after, limit).unwrap()
    }

    fn events_after(&self, after: u64, limit: usize) -> Vec<Event> {
        number_events(&self.url);
        self.reader.events_after(after, limit).unwrap()
    }

    fn audit(&self, sale: SaleId) -> Option<Audit> {
        self.reader.audit(sale).unwrap()
    }

    fn reopen(self, end: End) -> Self {
        let Self { server, url, writer, reader } = self;
        match end {
            End::Clean => writer.close().unwrap(),
            End::Killed => drop(writer),
        }
        drop(reader);
        Self::open(server, url)
    }
}

#[test]
fn random_histories_are_kept_as_the_contract_says() {
    // One server for all histories: starting one takes longer than playing one.
    let server = Postgres::shared();
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    let played = TestRunner::new(config).run(&contract::history(12), |history| {
        contract::play(Shared::empty(), &history);
        Ok(())
    });
    drop(server);
    played.unwrap();
}
