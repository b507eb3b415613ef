//! The writing half: one connection, one call a batch, and the truth about a call whose answer was lost.
//!
//! Every batch has a number of its own, and the commit records it. When an answer is lost, the writer *burns* the
//! number on a new connection: if that succeeds, the batch was not committed and never will be, however late it
//! arrives; if it fails, the batch is committed, and its receipt stands beside the number.
//!
//! Committed by this server, that is. With a synchronous standby the answer may be lost because the standby has yet to hear
//! of it, and it would not be there after a failover. So the receipt is read with a write beside it ([`WITH_STANDBYS`]), which
//! lies behind the batch in the server's log: when it is confirmed, the batch is, too.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_postgres::Row;

use super::super::graces::Graces;
use super::super::retirement::{Retirement, RetirementReceipt};
use super::super::sale_change::{ChangeReceipt, SaleChange, StopChange};
use super::super::store::{
    Batch, DeadlineStep, DeadlineStepped, Receipt, RefusalReason, RefusedOrder, StoreError, StoreWriter,
};
use super::super::trail::{Act, SaleAct};
use super::super::transition::{Applied, Transition};
use super::batch_columns::{NewOrders, Steps};
use super::deadlines;
use super::dialer::Dialer;
use super::error::PgError;
use super::history;
use super::incarnation::NodeIncarnation;
use super::instance_lock::Exclusivity;
use super::new_sale::Making;
use super::older_engines::{Knowledge, all_know};
use super::read_orders::orders_by_id;
use super::refunds::{self, RefundColumns};
use super::retirement::{self, Retiring};
use super::rows::{self, column, damaged};
use super::sale_change::SaleDoubt;
use super::session::{Parameter, Session, WITH_STANDBYS};
use super::stops;
use super::trail::{self, TrailColumns};
use crate::domain::{OrderId, Sale, SaleId, SaleKey, SaleTerms, Stops, Units};

/// How often orders are read again within one attempt because they took a step meanwhile.
const STALE_READS_MAX: usize = 16;

const COMMIT_BATCH: &str = "SELECT refused, by_key, standing FROM commit_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
     $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, \
     $45, $46, $47)";

/// A writing half of the store.
#[derive(Debug)]
pub struct PgWriter {
    /// Drives this writer's connection while the writer waits for it.
    runtime: Runtime,
    connection: WriterConnection,
    making: Making,
    sale_doubt: SaleDoubt,
    retiring: Retiring,
}

/// The writer's connection and what it knows of its own batches.
#[derive(Debug)]
struct WriterConnection {
    dialer: Arc<Dialer>,
    incarnation: Arc<NodeIncarnation>,
    exclusivity: Exclusivity,
    /// The writer's number on its node.
    place: i16,
    session: Option<Session>,
    /// The number of the last batch.
    last_batch: i64,
    /// The number of the last batch that is known to be committed, and the timeline that it was committed in.
    committed: (i64, i64),
    in_doubt: Option<InDoubt>,
}

/// A batch that may or may not be committed.
#[derive(Debug)]
struct InDoubt {
    number: i64,
    /// What tells this batch from another one.
    fingerprint: Fingerprint,
    /// What its steps have done, if it is committed.
    applied: Vec<Applied>,
}

/// Numbers of the first and the last order, and how many there are of each kind.
type Fingerprint = (Option<OrderId>, Option<OrderId>, usize, usize, usize);

fn fingerprint_of(batch: &Batch) -> Fingerprint {
    let Batch { placed, rejected, transitions, .. } = batch;
    let id = |order: &crate::domain::NewOrder| order.id;
    (placed.first().map(id), placed.last().map(id), placed.len(), rejected.len(), transitions.len())
}

impl PgWriter {
    /// Writer number `place` of this life. Burns what an earlier life may still have under way.
    pub(super) fn open(
        dialer: Arc<Dialer>,
        incarnation: Arc<NodeIncarnation>,
        place: usize,
        exclusivity: Exclusivity,
    ) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            StoreError::fatal(format!("a PostgreSQL writer cannot be started: {error}")).caused_by(error)
        })?;
        let mut connection = WriterConnection {
            dialer,
            incarnation,
            exclusivity,
            place: column(place),
            session: None,
            last_batch: 0,
            committed: (0, 0),
            in_doubt: None,
        };
        connection.last_batch = runtime.block_on(async {
            connection.session = Some(connection.dialer.connect().await?);
            let (node, place) = (connection.incarnation.node(), connection.place);
            let begun = connection
                .rows(
                    "INSERT INTO writers AS w (node, writer, last_batch, burned) VALUES ($1, $2, 0, true) \
                     ON CONFLICT (node, writer) DO UPDATE SET last_batch = w.last_batch + 1, burned = true \
                     RETURNING last_batch",
                    &[&node, &place],
                )
                .await?;
            let begun = begun.first().map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
            connection.committed = (begun, history::timeline(connection.session().await?).await?);
            Ok::<i64, StoreError>(begun)
        })?;
        connection.incarnation.writer_opened();
        let (making, sale_doubt, retiring) = Default::default();
        Ok(Self { runtime, connection, making, sale_doubt, retiring })
    }
}

impl StoreWriter for PgWriter {
    fn commit(&mut self, batch: &Batch) -> Result<Receipt, StoreError> {
        self.runtime.block_on(self.connection.commit(batch))
    }

    fn create_sale(
        &mut self,
        key: &SaleKey,
        terms: &SaleTerms,
        total: Units,
        act: Option<&SaleAct>,
    ) -> Result<Option<Sale>, StoreError> {
        self.runtime.block_on(async {
            let session = self.connection.session().await?;
            self.making.make(session, key, terms, total, act).await
        })
    }

    fn change_sale(&mut self, change: &SaleChange) -> Result<ChangeReceipt, StoreError> {
        self.runtime.block_on(async {
            let (node, exclusivity) = (self.connection.incarnation.node(), self.connection.exclusivity);
            let session = self.connection.session().await?;
            self.sale_doubt.change(session, change, node, exclusivity.lending()).await
        })
    }

    fn change_stops(&mut self, change: &StopChange) -> Result<Stops, StoreError> {
        self.runtime.block_on(async { Ok(stops::change(self.connection.session().await?, change).await?) })
    }

    fn move_deadlines(
        &mut self,
        step: &DeadlineStep,
        act: Option<&Act>,
    ) -> Result<DeadlineStepped, StoreError> {
        self.runtime.block_on(async {
            let session = self.connection.session().await?;
            Ok(deadlines::step(session, step, act).await?)
        })
    }

    fn tell(&mut self, acts: &[Act]) -> Result<(), StoreError> {
        self.runtime.block_on(async { Ok(trail::append_all(self.connection.session().await?, acts).await?) })
    }

    fn retire_sale(&mut self, wanted: &Retirement) -> Result<RetirementReceipt, StoreError> {
        self.runtime.block_on(async {
            let session = self.connection.session().await?;
            Ok(self.retiring.retire(session, wanted).await?)
        })
    }

    fn move_archived(&mut self, max: usize) -> Result<usize, StoreError> {
        self.runtime
            .block_on(async { Ok(retirement::move_orders(self.connection.session().await?, max).await?) })
    }

    fn units_of(&mut self, sale: SaleId) -> Result<(Units, Units), StoreError> {
        let sale: i32 = column(sale.0);
        self.runtime.block_on(async {
            let select = "SELECT total, (SELECT coalesce(sum(sold - returned), 0)::integer FROM shares \
                          WHERE sale_id = $1) FROM sales WHERE sale_id = $1";
            let found = self.connection.rows(select, &[&sale]).await?;
            let row = found.first().ok_or_else(|| damaged("an order of no sale"))?;
            let units = |place| rows::whole(row.try_get(place)?);
            Ok((units(0)?, units(1)?))
        })
    }

    /// The last writer says that no order of this life comes any more.
    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.connection.incarnation.writer_closed() {
            let (node, incarnation) =
                (self.connection.incarnation.node(), self.connection.incarnation.number());
            let leave = "UPDATE nodes SET settled_through = NULL WHERE node = $1 AND incarnation = $2";
            // Of an engine that shares the store, the lease agent hands back what is not sold.
            let let_go = "UPDATE shares SET granted = sold WHERE node = $1 AND life <= $2 AND granted > sold";
            let left = self.runtime.block_on(async {
                self.connection.rows(leave, &[&node, &incarnation]).await?;
                match self.connection.exclusivity {
                    Exclusivity::Alone => {
                        self.connection.rows(let_go, &[&node, &incarnation]).await.map(drop)
                    }
                    Exclusivity::Shared => Ok(()),
                }
            });
            if let Err(error) = left {
                tracing::warn!(
                    %error,
                    sqlstate = error.sqlstate.as_deref(),
                    "the store was not told that this node ends; who follows the orders waits until \
                     it has been silent for postgres.silent_ms_max"
                );
            }
        }
        Ok(())
    }
}

impl WriterConnection {
    /// The connection, made anew if there is none.
    async fn session(&mut self) -> Result<&mut Session, StoreError> {
        let open = self.session.take().filter(Session::is_open);
        let session = match open {
            Some(session) => session,
            None => {
                let mut session = self.dialer.connect().await?;
                self.look_for_lost_batches(&mut session).await?;
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// A standby that took over may not have everything: who was told of an order by this node is told of it no more, so
    /// that all nodes begin anew with what is there.
    async fn look_for_lost_batches(&self, session: &mut Session) -> Result<(), StoreError> {
        let (committed, timeline) = self.committed;
        let (node, place) = (self.incarnation.node(), self.place);
        let select = "SELECT last_batch FROM writers WHERE node = $1 AND writer = $2";
        let there = session.row(select, &[&node, &place]).await?;
        let there: i64 = there.map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
        if there < committed {
            tracing::warn!(
                code = "order-store-lost-batches",
                committed,
                there,
                "the order store has lost orders that it had committed: a standby took over that did not have them"
            );
            history::begin_timeline(session, timeline).await?;
        }
        Ok(())
    }

    async fn rows(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.session().await?.rows(sql, parameters).await?)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Receipt, StoreError> {
        if let Some(receipt) = self.resolve_doubt(batch).await? {
            return Ok(receipt);
        }
        let new_orders = NewOrders::of(batch);
        for _ in 0..STALE_READS_MAX {
            let session = self.session().await?;
            let read = if batch.transitions.is_empty() {
                Vec::new()
            } else {
                let ids: Vec<i64> =
                    batch.transitions.iter().map(|step| column(step.order.number())).collect();
                orders_by_id(session, &ids).await?
            };
            // Another node, or its operator, may have granted time that this one has not heard of yet.
            let (granted, grant) = match batch.asks_for_the_time() {
                true => deadlines::granted(session, batch, &read).await?,
                false => (Vec::new(), 0),
            };
            let graces = Graces::new(granted).with_ongoing(batch.graces.ongoing());
            let may_refund = !batch.transitions.iter().any(Transition::begins_refund)
                || all_know(session, Knowledge::Refunds).await?;
            let restocked = batch.transitions.iter().filter(|step| step.restocks());
            let restocked: Vec<i64> = restocked.map(|step| column(step.order.number())).collect();
            let archived = match restocked.is_empty() {
                true => HashSet::new(),
                false => refunds::archived_among(session, &restocked).await?,
            };
            let life = self.incarnation.number();
            let is_barred = |step: &Transition| {
                (step.begins_refund() && !may_refund)
                    || (step.restocks() && archived.contains(&step.order))
                    || step.only_in_life().is_some_and(|only| only != life as u64)
            };
            let (steps, applied) = Steps::decide(batch, read, &graces, is_barred);
            match self.call(life, &new_orders, &steps, grant).await {
                Ok(row) => {
                    self.committed.0 = self.last_batch;
                    return self.receipt(batch, applied, &row).await;
                }
                Err(error) if error.is_lost() => {
                    let number = self.last_batch;
                    self.in_doubt = Some(InDoubt { number, fingerprint: fingerprint_of(batch), applied });
                    return Err(error.into());
                }
                Err(error) if error.has_code("SK001") => {}
                Err(error) if error.has_code("SK002") => return oversold(error),
                Err(error) if error.has_code("SK003") => return Ok(Receipt::Fenced { life: life as u64 }),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::transient("orders of this batch took other steps again and again"))
    }

    /// Commits under a new number, and under the node's life `life`. `grant` is the last one that the steps were decided by.
    async fn call(
        &mut self,
        life: i64,
        new_orders: &NewOrders<'_>,
        steps: &Steps,
        grant: i64,
    ) -> Result<Row, PgError> {
        self.last_batch += 1;
        let grant = steps.expires().then_some(grant);
        let node = self.incarnation.node();
        let mut parameters: Vec<Parameter<'_>> = vec![&node, &life, &self.place, &self.last_batch];
        let lending = self.exclusivity.lending();
        parameters.extend(new_orders.parameters());
        parameters.extend(steps.parameters());
        parameters.push(&lending);
        parameters.push(&grant);
        let Some(session) = &mut self.session else { return Err(PgError::Lost("no connection".into())) };
        let mut beside = Vec::new();
        if !steps.refund_records.is_empty() {
            beside.push(format!("noted AS ({})", RefundColumns::insert(parameters.len())));
            parameters.extend(steps.refund_records.parameters());
        }
        if !steps.acts.is_empty() {
            beside.push(format!("told AS ({})", TrailColumns::insert(parameters.len())));
            parameters.extend(steps.acts.parameters());
        }
        let row = if beside.is_empty() {
            session.row(COMMIT_BATCH, &parameters).await?
        } else {
            session.row(&format!("WITH {} {COMMIT_BATCH}", beside.join(", ")), &parameters).await?
        };
        row.ok_or_else(|| damaged("commit_batch has no answer"))
    }

    /// Finds out what became of a batch whose answer was lost. `None` when there is none, or when it certainly was not
    /// and will not be committed.
    async fn resolve_doubt(&mut self, batch: &Batch) -> Result<Option<Receipt>, StoreError> {
        let Some(InDoubt { number, fingerprint, .. }) = self.in_doubt else { return Ok(None) };
        if fingerprint != fingerprint_of(batch) {
            return Err(StoreError::fatal("another batch was offered while one was in doubt"));
        }
        let (node, place) = (self.incarnation.node(), self.place);
        // Waits for a commit that is still under way. Repeated, it finds its own mark.
        self.rows(
            "UPDATE writers SET last_batch = $3, burned = true WHERE node = $1 AND writer = $2 AND last_batch < $3",
            &[&node, &place, &number],
        )
        .await?;
        let found = self
            .rows(
                &format!(
                    "SELECT refused, by_key, standing, last_batch, burned, {WITH_STANDBYS} FROM writers \
                     WHERE node = $1 AND writer = $2"
                ),
                &[&node, &place],
            )
            .await?;
        let row = found.first().ok_or_else(|| damaged("a writer without its row"))?;
        let (last, burned): (i64, bool) =
            (row.try_get(3).map_err(PgError::from)?, row.try_get(4).map_err(PgError::from)?);
        if last != number {
            return Err(StoreError::fatal(
                "a later life of this node writes while a batch of this one is in doubt",
            ));
        }
        if burned {
            tracing::warn!(
                number,
                "a batch whose answer was lost had not been committed; it is offered again"
            );
            self.in_doubt = None;
            return Ok(None);
        }
        tracing::warn!(number, "a batch whose answer was lost had been committed");
        let applied = self.in_doubt.take().map_or_else(Vec::new, |doubt| doubt.applied);
        self.receipt(batch, applied, row).await.map(Some)
    }

    /// The receipt of the last batch, which is committed. In doubt again if the orders that it names cannot be read.
    async fn receipt(
        &mut self,
        batch: &Batch,
        applied: Vec<Applied>,
        row: &Row,
    ) -> Result<Receipt, StoreError> {
        let refusals = (|| {
            let refused: Vec<i64> = row.try_get(0)?;
            let by_key: Vec<bool> = row.try_get(1)?;
            let prior: Vec<Option<i64>> = row.try_get(2)?;
            Ok::<_, PgError>((refused, by_key, prior))
        })();
        let (refused, by_key, prior) = refusals?;
        if refused.is_empty() {
            return Ok(Receipt::Committed { applied, refused: Vec::new() });
        }
        let ids: Vec<i64> = prior.iter().flatten().copied().collect();
        let session = self.session().await;
        let orders = match session {
            Ok(session) => orders_by_id(session, &ids).await.map_err(StoreError::from),
            Err(error) => Err(error),
        };
        let orders: HashMap<OrderId, _> = match orders {
            Ok(orders) => orders.into_iter().map(|order| (order.placed.id, order)).collect(),
            Err(error) => {
                let number = self.last_batch;
                self.in_doubt = Some(InDoubt { number, fingerprint: fingerprint_of(batch), applied });
                return Err(error);
            }
        };
        let mut applied = applied;
        for (transition, applied) in batch.transitions.iter().zip(&mut applied) {
            if refused.contains(&column(transition.order.number())) {
                *applied = Applied::UnknownOrder;
            }
        }
        let mut refusals = Vec::with_capacity(refused.len());
        for ((order, by_key), prior) in refused.into_iter().zip(by_key).zip(prior) {
            let order = rows::order_id(order)?;
            let prior = match prior {
                Some(number) => {
                    let order = orders.get(&rows::order_id(number)?).cloned();
                    Some(Box::new(order.ok_or_else(|| damaged("a buyer without the order"))?))
                }
                None => None,
            };
            let reason = match (by_key, prior) {
                (true, Some(first)) => RefusalReason::KeyUsed(first),
                (true, None) => return Err(damaged("a key without its order").into()),
                (false, prior) => RefusalReason::BuyerLimit(prior),
            };
            refusals.push(RefusedOrder { order, reason });
        }
        Ok(Receipt::Committed { applied, refused: refusals })
    }
}

impl PgWriter {
    /// Does work that may be done twice, in a transaction of its own.
    pub(super) fn in_transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        self.runtime.block_on(async { Ok(self.connection.session().await?.transaction(work).await?) })
    }

    /// Runs one statement that may be run twice.
    pub(super) fn run(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<(), StoreError> {
        self.runtime.block_on(async { self.connection.rows(sql, parameters).await.map(drop) })
    }
}

/// The sales that the guard names.
fn oversold(error: PgError) -> Result<Receipt, StoreError> {
    let named = match &error {
        PgError::Refused(answer) => answer.detail().unwrap_or_default(),
        PgError::Lost(_) | PgError::Unwanted | PgError::Damaged(_) | PgError::Unfit(..) => "",
    };
    let sales: Result<Vec<_>, _> = named.split(',').map(|number| number.parse().map(SaleId)).collect();
    sales.map(Receipt::Oversold).map_err(|_| error.into())
}
