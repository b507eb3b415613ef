//! The calendar and the deadlines, as JSON and as Prometheus text.

use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use crate::clock::ClockFigures;
use crate::telemetry::{Exposition, Kind};

impl ControlPlane {
    /// The part of `GET /healthz`.
    pub(super) fn clock_json(&self) -> Value {
        let ClockFigures { is_agreed, steps, reference_off_ms, system_off_ms } = self.desk.clock().figures();
        json!({
            "agreed": is_agreed,
            "steps": steps,
            "off_ms": reference_off_ms,
            "system_off_ms": system_off_ms,
        })
    }

    /// The figures for `GET /metrics`.
    pub(super) fn expose_clock(&self, exposition: &mut Exposition) {
        let ClockFigures { is_agreed, steps, reference_off_ms, system_off_ms } = self.desk.clock().figures();
        let deadlines = self.desk.deadlines();
        let graces = deadlines.graces();
        let rows: [(&str, Kind, &str, f64); 7] = [
            (
                "seckill_clock_steps_total",
                Kind::Counter,
                "Steps of a calendar that were noticed.",
                steps as f64,
            ),
            (
                "seckill_clock_agreed",
                Kind::Gauge,
                "1 while the calendar that counts agrees with the engine's.",
                f64::from(u8::from(is_agreed)),
            ),
            (
                "seckill_clock_off_seconds",
                Kind::Gauge,
                "How far the calendar that counts (the database's, or else the system's) is ahead of the engine's.",
                reference_off_ms as f64 / 1e3,
            ),
            (
                "seckill_clock_system_off_seconds",
                Kind::Gauge,
                "How far the system's calendar is ahead of the engine's.",
                system_off_ms as f64 / 1e3,
            ),
            (
                "seckill_orders_waiting",
                Kind::Gauge,
                "Orders whose payment deadline this node looks after.",
                deadlines.len() as f64,
            ),
            (
                "seckill_graces",
                Kind::Gauge,
                "Outages and gifts that move deadlines.",
                graces.granted().len() as f64,
            ),
            (
                "seckill_paying_impossible",
                Kind::Gauge,
                "1 while nobody can pay and deadlines move.",
                f64::from(u8::from(graces.ongoing().is_some())),
            ),
        ];
        for (name, kind, help, value) in rows {
            exposition.family(name, kind, help);
            exposition.sample(name, &[], value);
        }
    }
}
