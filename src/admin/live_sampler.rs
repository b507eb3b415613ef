//! What a snapshot of the live feed is made of.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::checkout_figures;
use super::cluster_figures::{NodeFigures, OtherNode, Rates};
use super::control_plane::ControlPlane;
use super::figure_exchange::Teller;
use super::health::Checks;
use super::live_dependencies;
use super::live_snapshot::Snapshot;
use super::rfc3339::rfc3339;
use super::sale_counts::{COUNT_EVERY, COUNT_IDLE_EVERY};
use super::sales::state_word;
use super::stats::{micros, queue_json, tenths};
use super::store_figures;
use crate::admission::{LiveSale, TallyCounts};
use crate::domain::{NodeId, SaleId, SaleTerms};
use crate::orders::{Audit, TrailEntry, TrailFilter};
use crate::telemetry::Path;

/// Operators' acts are shown as marks on charts of this time, at most so many.
const ACTS_SHOWN_MS: i64 = 300_000;
const ACTS_MAX: usize = 50;
/// Whole seconds from one interval of "the last minute" to the next.
const MINUTE_STEP: Duration = Duration::from_secs(10);
/// Steps of a minute.
const MINUTE_STEPS: usize = 6;
/// How much the newest second counts in the rate that "sold out in" is computed with.
const NEWEST_SHARE: f64 = 0.3;

/// What is remembered of a sale from one snapshot to the next.
#[derive(Debug, Default)]
struct Watched {
    counts: TallyCounts,
    last_arrival: Option<Instant>,
    /// Orders a second, the newest second weighing most.
    wins_per_s: f64,
}

/// What makes one snapshot after the other.
#[derive(Debug)]
pub(super) struct Sampler {
    seq: u64,
    at: Instant,
    sales: HashMap<SaleId, Watched>,
    paths: PathWindows,
    teller: Teller,
}

impl Sampler {
    /// Begins to watch: the first snapshot tells of the time since now.
    pub fn new(plane: &ControlPlane) -> Self {
        let board = plane.admission.board().sales();
        let watched = |sale: &Arc<LiveSale>| {
            (sale.id, Watched { counts: sale.state.tally().counts(), ..Watched::default() })
        };
        let sales = board.iter().map(watched).collect();
        let (paths, teller) = (PathWindows::new(plane), Teller::new(plane));
        Self { seq: 0, at: Instant::now(), sales, paths, teller }
    }

    /// The picture now.
    pub async fn sample(&mut self, plane: &Arc<ControlPlane>) -> Snapshot {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at).max(Duration::from_millis(1));
        self.at = now;
        self.seq += 1;
        let board = plane.admission.board();
        let board: Vec<_> = board.sales().iter().filter(|sale| !sale.is_archived).cloned().collect();
        let (sales, live) = (&mut self.sales, board.len());
        let others = plane.cluster.others();
        sales.retain(|id, _| board.iter().any(|sale| sale.id == *id));
        let mut shown: Vec<_> = board
            .into_iter()
            .map(|sale| {
                let watched = sales.entry(sale.id).or_default();
                let counts = sale.state.tally().counts();
                let new = counts.since(&std::mem::replace(&mut watched.counts, counts));
                let mut rates = Rates::of(&new, passed);
                let elsewhere = others.iter().filter_map(|other| other.figures.of_sale(sale.id));
                elsewhere.for_each(|of_node| rates.add(of_node));
                if rates.arrivals > 0.0 {
                    watched.last_arrival = Some(now);
                }
                watched.wins_per_s += NEWEST_SHARE * (rates.wins - watched.wins_per_s);
                (sale, rates)
            })
            .collect();
        // Where something happens first, then what opens next; load tests last.
        shown.sort_by_key(|(sale, _)| {
            let is_over = sale.terms.ends_at <= plane.now();
            let last_arrival = Reverse(sales[&sale.id].last_arrival);
            (sale.key.is_load_test(), last_arrival, is_over, sale.terms.starts_at, sale.id.0)
        });
        shown.truncate(plane.settings.live_sales_max);
        let wanted = shown.iter().map(|(sale, _)| {
            let counted = plane.sale_counts.of(sale.id).map(|counted| counted.at);
            let is_busy = sales[&sale.id].last_arrival > counted;
            (Arc::clone(sale), if is_busy { COUNT_EVERY } else { COUNT_IDLE_EVERY })
        });
        plane.count_soon(wanted.collect()).await;
        let rows = shown.iter().map(|(sale, rates)| {
            (sale.key.tenant().to_owned(), plane.sale_row(sale, &sales[&sale.id], rates))
        });
        let rows = rows.collect();
        let checks = Checks::of(plane).await;
        let (paths, commits) = self.paths.sample(plane, now);
        let mut engine = Map::new();
        for (name, value) in [
            ("seq", self.seq.into()),
            ("at", rfc3339(plane.now()).into()),
            ("node", plane.node.number().into()),
            ("sales_live", live.into()),
            ("paths", paths),
            ("queue", queue_json(plane)),
            ("dependencies", live_dependencies::json(plane, &checks, &commits, &others)),
            ("commits", commits),
            ("store", store_figures::json(&plane.desk.pool_figures(), plane.desk.log_figures())),
            ("gateway", checkout_figures::json(&plane.checkout)),
            ("nodes", nodes(plane.node, &self.teller.tell(plane), &others)),
            ("health", checks.troubles()),
        ] {
            engine.insert(name.into(), value);
        }
        Snapshot::new(self.seq, engine, rows, acts(plane).await)
    }
}

/// A row a node: this one, and the others that were heard of late.
fn nodes(own: NodeId, figures: &NodeFigures, others: &[OtherNode]) -> Value {
    let mut nodes: Vec<_> = others.iter().map(|other| (other.node, &other.figures)).collect();
    nodes.push((own, figures));
    nodes.sort_by_key(|(node, _)| *node);
    let row = |(node, figures): (NodeId, &NodeFigures)| {
        json!({
            "node": node.number(),
            "uptime_s": figures.uptime_s,
            "arrivals_per_s": tenths(figures.all.arrivals),
            "wins_per_s": tenths(figures.all.wins),
            "queue_depth": figures.queue,
        })
    };
    nodes.into_iter().map(row).collect()
}

/// What operators did within the time that charts show, the newest first.
async fn acts(plane: &ControlPlane) -> Vec<(Option<String>, Value)> {
    let wanted = TrailFilter { limit: ACTS_MAX, ..TrailFilter::default() };
    let newest = plane.limited(plane.desk.trail_page(wanted)).await.unwrap_or_default();
    let since = plane.now().plus_ms(-ACTS_SHOWN_MS);
    let shown = newest.into_iter().filter(|entry| entry.at >= since);
    let act = |entry: TrailEntry| {
        let told = json!({
            "at": rfc3339(entry.at),
            "who": entry.actor.who,
            "act": entry.kind,
            "object": entry.object,
            "tenant": entry.tenant,
            "reason": entry.reason,
        });
        (entry.tenant, told)
    };
    shown.map(act).collect()
}

impl ControlPlane {
    fn sale_row(&self, sale: &LiveSale, watched: &Watched, rates: &Rates) -> Value {
        let refusals: Map<_, _> =
            rates.refusals.iter().map(|(code, rate)| (code.clone(), tenths(*rate).into())).collect();
        let state = state_word(self.admission.phase(sale, self.now()), sale.is_sold_out());
        let SaleTerms { title, starts_at, ends_at, .. } = &sale.terms;
        let remaining = sale.remaining_everywhere();
        let sold_out_in_s = (state == "open" && watched.wins_per_s >= 0.1)
            .then(|| (remaining as f64 / watched.wins_per_s).ceil() as u64);
        let counted = self.sale_counts.of(sale.id);
        let units = |part: fn(&Audit) -> u64| counted.map(|counted| part(&counted.audit));
        json!({
            "tenant": sale.key.tenant(),
            "campaign": sale.key.campaign(),
            "sku": sale.key.sku(),
            "title": title,
            "load_test": sale.key.is_load_test(),
            "state": state,
            "total": units(|audit| audit.total.into()),
            "available": units(Audit::available),
            "held": units(|audit| audit.held),
            "paid": units(|audit| audit.paid),
            "refunded": units(|audit| audit.refunded),
            "conserved": counted.map(|counted| counted.conserved),
            "counted_ms_ago": counted.map(|counted| counted.at.elapsed().as_millis() as u64),
            "remaining": remaining,
            "starts_at": rfc3339(*starts_at),
            "ends_at": (*ends_at < SaleTerms::NO_END).then(|| rfc3339(*ends_at)),
            "arrivals_per_s": tenths(rates.arrivals),
            "wins_per_s": tenths(rates.wins),
            "refusals_per_s": refusals,
            "sold_out_in_s": sold_out_in_s,
            "waiting_room": sale.terms.waiting_room().map(|terms| self.room_json(sale, terms, &sale.state.room().marks())),
        })
    }
}

/// The latencies of the last second and the last minute: of the paths, and of the store's commits.
#[derive(Debug)]
struct PathWindows {
    last: Totals,
    /// The totals at the beginnings of the last intervals, oldest first.
    steps: VecDeque<Totals>,
}

/// Where the store's commits stand, behind the paths.
const COMMITS: usize = Path::ALL.len();

/// What each path has recorded by a moment, and the store's writers.
#[derive(Clone, Debug)]
struct Totals {
    at: Instant,
    latencies: [Histogram<u64>; COMMITS + 1],
}

impl PathWindows {
    fn new(plane: &ControlPlane) -> Self {
        let last = Totals::read(plane, Instant::now());
        Self { steps: VecDeque::from([last.clone()]), last }
    }

    /// Those of the paths, and those of the commits.
    fn sample(&mut self, plane: &ControlPlane, now: Instant) -> (Value, Value) {
        let totals = Totals::read(plane, now);
        let newest = self.steps.back().map_or(now, |step| step.at);
        if now.saturating_duration_since(newest) >= MINUTE_STEP {
            self.steps.push_back(totals.clone());
            if self.steps.len() > MINUTE_STEPS + 1 {
                self.steps.pop_front();
            }
        }
        let windows = |of: usize| {
            let minute = self.steps.front().unwrap_or(&self.last);
            json!({ "second": totals.since(&self.last, of), "minute": totals.since(minute, of) })
        };
        let paths: Map<_, _> =
            Path::ALL.into_iter().map(|path| (path.name().to_owned(), windows(path as usize))).collect();
        let commits = windows(COMMITS);
        self.last = totals;
        (Value::Object(paths), commits)
    }
}

impl Totals {
    fn read(plane: &ControlPlane, at: Instant) -> Self {
        let latencies = std::array::from_fn(|of| {
            let snapshot = match Path::ALL.get(of) {
                Some(path) => plane.telemetry.path(*path),
                None => plane.telemetry.writers.commit(),
            };
            snapshot.histogram
        });
        Self { at, latencies }
    }

    fn since(&self, before: &Self, of: usize) -> Value {
        let mut since = self.latencies[of].clone();
        since.subtract(&before.latencies[of]).expect("cells only grow, and the layouts are the same");
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64();
        let at =
            |quantile| if since.is_empty() { 0.0 } else { micros(since.value_at_quantile(quantile) as f64) };
        json!({
            "count": since.len(),
            "over_s": tenths(seconds),
            "mean_us": micros(since.mean()),
            "p50_us": at(0.5),
            "p90_us": at(0.9),
            "p99_us": at(0.99),
            "p999_us": at(0.999),
            "max_us": at(1.0),
        })
    }
}
