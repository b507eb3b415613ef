//! The console: pages for the person who runs a campaign.
//!
//! Every page is whole as the engine sends it, and every act is a plain form: pausing works when the script, the feed or the
//! browser is broken. The script only keeps the figures fresh.

mod assets;
mod form;
mod html;
mod integrations;
mod new_sale;
mod now;
mod orders;
mod refunds;
mod sale;
mod sale_list;
mod sign_in;
mod switches;
mod trail;
mod waiting_room;
mod zone;

pub(super) use integrations::rebuild as rebuild_act;
pub(super) use refunds::{act as refund_act, confirm as refund_page};
pub(super) use sign_in::page as sign_in_page;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::control_plane::ControlPlane;

/// The pages that need no token: where one is asked for, and what pages are made of.
pub(super) fn open_routes() -> Router<Arc<ControlPlane>> {
    Router::new()
        .route("/sign-in", post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/assets/{file}", get(assets::asset))
}

/// The pages.
pub(super) fn routes() -> Router<Arc<ControlPlane>> {
    Router::new()
        .route("/", get(now::page))
        .route("/sales", get(sale_list::list))
        .route("/sales/new", get(new_sale::page).post(new_sale::make))
        .route("/sales/{tenant}/{campaign}/{sku}", get(sale::page))
        .route("/sales/{tenant}/{campaign}/{sku}/{act}", get(sale::confirm).post(sale::act))
        .route("/orders", get(orders::search))
        .route("/orders/{id}", get(orders::page))
        .route("/orders/{id}/{act}", post(orders::act))
        .route("/integrations", get(integrations::page))
        .route("/integrations/webhooks/{name}/{act}", post(integrations::act_on_webhook))
        .route("/trail", get(trail::page))
        .route("/trail.ndjson", get(trail::export))
        .route("/stop", get(switches::confirm).post(switches::stop))
        .route("/go", post(switches::go))
}
