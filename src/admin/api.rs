//! The table of the admin API: each operation with what handles it.

use std::sync::LazyLock;

use super::described_routes::{DescribedRoutes, Kind};
use super::openapi::{self, campaigns, engine, figures, hooks, index, orders};
use super::problem_code::Code;
use super::{
    beacon_value, extend, feeds, health, live, metrics_page, order_acts, profiles, public_pages, reconcile,
    refund, reload, retiring, room_feeds, sale_acts, sales, search, settle, stats, stops, trail,
    waiting_room, webhooks,
};
use crate::openapi::{Document, parts};

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| openapi::document(routes().operations()));

/// The document of `GET /openapi.json` on the admin plane.
pub fn document() -> &'static Document {
    &DOCUMENT
}

/// All routes but those of the console, whose pages are for people.
pub(super) fn routes() -> DescribedRoutes {
    use Kind::{Dear, Open, Probe, Usual};
    DescribedRoutes::default()
        .on(Usual, campaigns::list(), sales::list)
        .on(Usual, campaigns::create(), sales::create)
        .on(Usual, campaigns::show(), sales::show)
        .on(Usual, campaigns::change(), sales::change)
        .on(Usual, campaigns::delete(), retiring::delete)
        .on(Usual, campaigns::pause(), sale_acts::pause)
        .on(Usual, campaigns::resume(), sale_acts::resume)
        .on(Usual, campaigns::end(), sale_acts::end)
        .on(Usual, campaigns::extend(), extend::extend_sale)
        .on(Usual, campaigns::archive(), retiring::archive)
        .on(Dear, campaigns::audit(), sales::audit)
        .on(Usual, campaigns::room(), waiting_room::show)
        .on(Usual, campaigns::beacon(), beacon_value::give)
        .on(Dear, campaigns::registrations(), room_feeds::registrations)
        .on(Dear, campaigns::marks(), room_feeds::marks)
        .on(Dear, orders::show(), order_acts::show)
        .on(Usual, orders::cancel(), order_acts::cancel)
        .on(Usual, orders::extend(), extend::extend)
        .on(Usual, orders::settle(), settle::settle)
        .on(Usual, orders::refund(), refund::refund)
        .on(Dear, orders::list(), feeds::orders)
        .on(Dear, orders::events(), feeds::events)
        .on(Dear, orders::trail(), trail::show)
        .on(Usual, orders::live(), live::live)
        .on(Usual, figures::metrics(), metrics_page::show)
        .on(Usual, figures::stats(), stats::stats)
        .on(Usual, figures::interval_log(), stats::interval_log)
        .on(Usual, figures::percentiles(), stats::percentiles)
        .on(Probe, figures::livez(), health::livez)
        .on(Probe, figures::readyz(), health::readyz)
        .on(Probe, figures::healthz(), health::healthz)
        .on(Usual, hooks::list(), webhooks::list)
        .on(Usual, hooks::show(), webhooks::show)
        .on(Usual, hooks::enable(), webhooks::enable)
        .on(Usual, hooks::disable(), webhooks::disable)
        .on(Usual, hooks::replay(), webhooks::replay)
        .on(Usual, index::show(), search::show)
        .on(Usual, index::rebuild(), search::rebuild)
        .on(Usual, engine::stopped(), stops::show)
        .on(Usual, engine::stop(), stops::stop)
        .on(Usual, engine::go(), stops::go)
        // Books that are compared do not give way: who compares them has a reason.
        .on(Usual, figures::reconcile(), reconcile::reconcile)
        .on(Usual, engine::reload(), reload::reload)
        .on(Usual, engine::cpu_profile(), profiles::cpu)
        .on(Usual, engine::allocator(), profiles::allocator)
        .on(Open, parts::description(), public_pages::description)
        .on(Open, parts::problems(), public_pages::problems)
        .on(Open, parts::problem("campaign-exists", Code::NotFound), public_pages::problem)
}
