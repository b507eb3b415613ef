//! What the lease agent of this node's stock did, as JSON and as Prometheus text.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::sale_series::{OTHERS, ToldSales, labels_of};
use crate::telemetry::{Counter, Exposition, Kind, LeaseAgentRecords};

/// Each counter with its name in both formats and what it counts.
fn counters(records: &LeaseAgentRecords) -> [(&'static str, &'static str, &Counter); 8] {
    [
        ("leased_units", "Units that this node was lent.", &records.leased_units),
        ("handed_back_units", "Units that this node handed back unsold.", &records.handed_back_units),
        ("comparisons", "Comparisons of memory, ledger and store.", &records.comparisons),
        ("repairs", "Movements that brought the ledger towards the store.", &records.repairs),
        ("rebuilds", "Books of a sale that this node opened anew.", &records.rebuilds),
        ("reclaims", "Times that units of a silent node were taken back.", &records.reclaims),
        ("rejoins", "Times that this node was fenced and began another life.", &records.rejoins),
        ("troubles", "Rounds cut short because Redis or the store did not answer.", &records.troubles),
    ]
}

/// The member `ledger` of the statistics; `null` for an engine that sells alone.
pub(super) fn json(plane: &ControlPlane) -> Value {
    let Some(commands) = plane.sales.ledger().commands() else { return Value::Null };
    let records = &plane.telemetry.lease_agent;
    let mut figures = json!({ "redis_commands": commands });
    for (name, _, counter) in counters(records) {
        figures[name] = counter.value().into();
    }
    figures["sales_with_drift"] = sales_with_drift(records).into();
    figures["cut_off"] = records.cut_off.load(Relaxed).into();
    figures
}

/// Sales whose books were apart when they were last compared.
pub(super) fn sales_with_drift(records: &LeaseAgentRecords) -> usize {
    records.drift().values().filter(|kinds| kinds.iter().any(|(_, units)| *units != 0)).count()
}

impl Exposition {
    /// The lease agent; nothing for an engine that sells alone.
    pub(super) fn lease_agent(&mut self, plane: &ControlPlane, told: &ToldSales) {
        let Some(commands) = plane.sales.ledger().commands() else { return };
        const COMMANDS: &str = "seckill_redis_commands_total";
        self.family(COMMANDS, Kind::Counter, "Commands sent to Redis.");
        self.sample(COMMANDS, &[], commands as f64);
        let records = &plane.telemetry.lease_agent;
        for (name, help, counter) in counters(records) {
            let name = format!("seckill_ledger_{name}_total");
            self.family(&name, Kind::Counter, help);
            self.sample(&name, &[], counter.value() as f64);
        }
        const TIMELINE: &str = "seckill_store_timeline";
        let help = "The order store's timeline: a step means that the store went back in time.";
        self.family(TIMELINE, Kind::Gauge, help);
        self.sample(TIMELINE, &[], records.store_timeline.value() as f64);
        const CONCERN: &str = "seckill_ledger_concern";
        self.family(CONCERN, Kind::Gauge, "What an operator has to look after, by its code.");
        for (code, _) in plane.sales.ledger().concerns() {
            self.sample(CONCERN, &[("code", code)], 1.0);
        }
        const CUT_OFF: &str = "seckill_ledger_cut_off";
        let help =
            "1 while this node has handed its unsold units back because the order store does not answer it.";
        self.family(CUT_OFF, Kind::Gauge, help);
        self.sample(CUT_OFF, &[], f64::from(u8::from(records.cut_off.load(Relaxed))));
        const DRIFT: &str = "seckill_ledger_drift_units";
        self.family(DRIFT, Kind::Gauge, "How far memory, ledger and store are apart, by kind.");
        let drift = records.drift();
        for sale in &told.own {
            for &(kind, units) in drift.get(&sale.id).into_iter().flatten() {
                let [tenant, campaign, sku] = labels_of(&sale.key);
                self.sample(DRIFT, &[tenant, campaign, sku, ("kind", kind)], units as f64);
            }
        }
        // Units that are missing in one sale and too many in another are apart all the same.
        let mut of_others = BTreeMap::new();
        for &(kind, units) in told.others.iter().filter_map(|sale| drift.get(&sale.id)).flatten() {
            *of_others.entry(kind).or_insert(0.0) += (units as f64).abs();
        }
        for (kind, units) in of_others {
            let [tenant, campaign, sku] = OTHERS;
            self.sample(DRIFT, &[tenant, campaign, sku, ("kind", kind)], units);
        }
        const EVERYWHERE: &str = "seckill_sale_remaining_everywhere_units";
        let help = "Unsold units of the whole sale, as this node last heard.";
        told.gauge(self, EVERYWHERE, help, |sale| Some(sale.remaining_everywhere() as f64));
    }
}
