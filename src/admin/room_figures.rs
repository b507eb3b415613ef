//! Waiting rooms on the page for Prometheus, and for who watches.

use super::control_plane::ControlPlane;
use super::sale_series::{ToldSales, labels_of};
use crate::domain::RoomMarks;
use crate::telemetry::{Exposition, Kind};

/// A figure of each room: its name, what it is, and its value.
type Figure = (&'static str, &'static str, fn(&RoomMarks) -> f64);

impl ControlPlane {
    /// The figures for `GET /metrics`.
    pub(super) fn expose_rooms(&self, page: &mut Exposition, told: &ToldSales) {
        let rooms = self.admission.rooms();
        const REFUSED: &str = "seckill_registrations_refused_total";
        page.family(
            REFUSED,
            Kind::Counter,
            "Buyers who were to come back for a place: the order store did not keep up.",
        );
        page.sample(REFUSED, &[], rooms.refused() as f64);
        const KEEPER: &str = "seckill_gatekeeper_answers_total";
        page.family(KEEPER, Kind::Counter, "What the gatekeeper said of who joined a waiting room.");
        for (word, count) in self.telemetry.gatekeeper.by_word() {
            page.sample(KEEPER, &[("answer", word)], count as f64);
        }
        const UNSEEN: &str = "seckill_waiting_rooms_unseen";
        page.family(
            UNSEEN,
            Kind::Gauge,
            "1 while nobody can tell here who is admitted: sales are open or hold.",
        );
        let sees = rooms.can_tell(self.desk.clock().stopwatch());
        page.sample(UNSEEN, &[], f64::from(u8::from(!sees)));
        let of: [Figure; 4] = [
            ("seckill_room_registered", "Registrations at the sale's waiting room.", |marks| {
                marks.registered as f64
            }),
            ("seckill_room_admitted", "Buyers who were admitted.", |marks| marks.admitted as f64),
            ("seckill_room_rate_per_second", "Buyers admitted a second, as things are.", |marks| {
                marks.rate_per_s.into()
            }),
            (
                "seckill_room_no_show_share",
                "Of those who were admitted, the share that does not come.",
                |marks| f64::from(marks.absent_permille) / 1_000.0,
            ),
        ];
        for (name, help, value) in of {
            page.family(name, Kind::Gauge, help);
            // What all others together would have means nothing.
            for sale in told.own.iter().filter(|sale| sale.terms.waiting_room().is_some()) {
                page.sample(name, &labels_of(&sale.key), value(&sale.state.room().marks()));
            }
        }
    }

    /// What those who watch are told while nobody can tell who is admitted, if a sale has a waiting room.
    pub(super) fn room_trouble(&self) -> Option<(&'static str, &'static str)> {
        let has_rooms = self.admission.board().sales().with_room().next().is_some();
        let sees = self.admission.rooms().can_tell(self.desk.clock().stopwatch());
        let said = "nobody can tell who is admitted: the marks of the waiting rooms are not compared with the store; sales \
                    with a waiting room are open or hold, as their queue.on_failure says";
        (has_rooms && !sees).then_some(("waiting-rooms-unseen", said))
    }
}
