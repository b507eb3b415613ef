//! A node tells the others of itself while somebody watches at any of them, itself included, or a waiting room is open, whose release
//! follows the fullest of them; else it only looks, more rarely, whether somebody does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cluster_figures::{NodeFigures, OtherNode, Rates};
use super::control_plane::ControlPlane;
use super::relay_watch::RelayWatch;
use crate::admission::{Load, TallyCounts};
use crate::domain::{SaleId, SalePhase};
use crate::orders::OwnFigures;

/// From one telling to the next.
const EVERY: Duration = Duration::from_secs(1);
/// From one look to the next while nobody watches.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Sales that a node tells of.
const SALES_MAX: usize = 200;

/// What is remembered from one telling to the next.
#[derive(Debug)]
pub(super) struct Teller {
    at: Instant,
    counts: HashMap<SaleId, TallyCounts>,
}

impl Teller {
    /// The first telling is of the time since now.
    pub fn new(plane: &ControlPlane) -> Self {
        let board = plane.admission.board().sales();
        let counts = board.iter().map(|sale| (sale.id, sale.state.tally().counts())).collect();
        Self { at: Instant::now(), counts }
    }

    /// What there is to tell of the time since the last one.
    pub fn tell(&mut self, plane: &ControlPlane) -> NodeFigures {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at).max(Duration::from_millis(1));
        self.at = now;
        let board = plane.admission.board().sales();
        let mut figures = NodeFigures {
            uptime_s: plane.started.elapsed().as_secs(),
            queue: plane.admission.queue().depth(),
            load_permille: plane.desk.load().permille(),
            relay_waiting: plane.relay.as_ref().and_then(RelayWatch::waiting),
            ..NodeFigures::default()
        };
        let mut counts = HashMap::with_capacity(board.len());
        let mut busy = Vec::new();
        for sale in board.iter() {
            let after = sale.state.tally().counts();
            counts.insert(sale.id, after);
            let before = self.counts.get(&sale.id).copied().unwrap_or_default();
            let rates = Rates::of(&after.since(&before), passed);
            if rates.arrivals > 0.0 {
                figures.all.add(&rates);
                busy.push((sale.id.0, rates));
            }
        }
        self.counts = counts;
        busy.sort_by(|(_, a), (_, b)| b.arrivals.total_cmp(&a.arrivals));
        busy.truncate(SALES_MAX);
        figures.sales = busy.into_iter().collect();
        figures
    }
}

impl ControlPlane {
    /// Whether people are admitted to a sale, or about to be.
    fn has_open_room(&self) -> bool {
        let (board, now) = (self.admission.board().sales(), self.now());
        board.with_room().any(|sale| {
            !sale.is_sold_out()
                && matches!(self.admission.phase(sale, now), SalePhase::Open | SalePhase::Paused)
        })
    }

    /// Exchanges figures with the other nodes that sell from the same store. For ever.
    pub async fn exchange_figures(self: Arc<Self>) {
        let mut teller = None;
        loop {
            let is_watched = self.live.is_watched();
            let tells = is_watched
                || self.has_open_room()
                || self.cluster.others().iter().any(|other| other.is_watched);
            let own = tells.then(|| {
                let figures = teller.get_or_insert_with(|| Teller::new(&self)).tell(&self);
                // Numbers and texts only: it does not fail.
                OwnFigures { is_watched, figures: serde_json::to_string(&figures).unwrap_or_default() }
            });
            if own.is_none() {
                teller = None;
            }
            let told = self.desk.exchange_figures(own).await.unwrap_or_default();
            // What an engine of another version says that this one cannot read is left out.
            let others = told.into_iter().filter_map(|told| {
                let figures = serde_json::from_str(&told.figures).ok()?;
                Some(OtherNode { node: told.node, figures, is_watched: told.is_watched })
            });
            let others: Vec<OtherNode> = others.collect();
            let fullest = others.iter().map(|other| other.figures.load_permille).max().unwrap_or_default();
            self.admission.rooms().set_elsewhere(&Load::of_permille(fullest));
            self.cluster.hear(others);
            sleep(if tells { EVERY } else { LOOK_EVERY }).await;
        }
    }
}
