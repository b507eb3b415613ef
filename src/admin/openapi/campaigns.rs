//! Operations on campaigns.

use serde_json::json;

use super::campaign_bodies as bodies;
use super::parts::{act, after, if_match, look, of_sale, page, tenant};
use crate::admin::problem_code::Code;
use crate::openapi::parts::sale_in_path;
use crate::openapi::{Access, Answer, Content, Method, Operation, Parameter};

const TAG: &str = "campaigns";

fn campaign(status: u16, about: &'static str) -> Answer {
    Answer::json::<bodies::Campaign>(status, about).with("ETag")
}

/// `POST /api/v1/campaigns`
pub fn create() -> Operation {
    act("/api/v1/campaigns", "createCampaign", "Make a campaign")
        .about("Only `campaign`, `sku`, `price_cents` and `stock` have to be said; it sells from now on unless it says more.")
        .tag(TAG)
        .takes([tenant()])
        .body::<bodies::NewCampaign>()
        .answers(campaign(201, "It is made.").with("Location"))
        .refuses([Code::CampaignExists, Code::TooManyCampaigns, Code::OlderEngines])
}

/// `GET /api/v1/campaigns`
pub fn list() -> Operation {
    look("/api/v1/campaigns", "listCampaigns", "The tenant's campaigns")
        .tag(TAG)
        .takes([
            tenant(),
            Parameter::query("archived", "The archived ones, instead of the live ones.")
                .of(json!({ "type": "boolean" })),
        ])
        .answers(Answer::json::<bodies::Campaigns>(200, "The campaigns"))
        .refuses([Code::InvalidField, Code::StoreUnavailable])
}

/// `GET /api/v1/campaigns/{campaign}/{sku}`
pub fn show() -> Operation {
    of_sale(look("/api/v1/campaigns/{campaign}/{sku}", "getCampaign", "A campaign"))
        .tag(TAG)
        .answers(campaign(200, "The campaign"))
}

/// `PATCH /api/v1/campaigns/{campaign}/{sku}`
pub fn change() -> Operation {
    let operation = Operation::new(
        Method::Patch,
        "/api/v1/campaigns/{campaign}/{sku}",
        "changeCampaign",
        "Change a campaign, also while it sells",
    );
    if_match(of_sale(operation.access(Access::Operator)))
        .tag(TAG)
        .body::<bodies::CampaignChange>()
        .answers(campaign(200, "The campaign as it is now"))
        .refuses([Code::StockInUse, Code::CampaignArchived, Code::OlderEngines])
}

/// `DELETE /api/v1/campaigns/{campaign}/{sku}`
pub fn delete() -> Operation {
    let operation = Operation::new(
        Method::Delete,
        "/api/v1/campaigns/{campaign}/{sku}",
        "deleteCampaign",
        "Delete a campaign without durable orders",
    );
    if_match(of_sale(operation.access(Access::Admin)))
        .tag(TAG)
        .body_if_any::<bodies::PerhapsReason>()
        .answers(Answer::empty(204, "It is no more."))
        .refuses([Code::CampaignHasOrders, Code::CampaignArchived, Code::OlderEngines])
}

/// `POST …/archive`
pub fn archive() -> Operation {
    let operation = act(
        "/api/v1/campaigns/{campaign}/{sku}/archive",
        "archiveCampaign",
        "Archive a campaign that is over",
    );
    if_match(of_sale(operation.access(Access::Admin)))
        .about("It leaves memory and the hot tables; its orders can still be read.")
        .tag(TAG)
        .body_if_any::<bodies::PerhapsReason>()
        .answers(campaign(200, "It is archived."))
        .refuses([Code::CampaignNotOver, Code::OrdersOpen, Code::CampaignArchived, Code::OlderEngines])
}

/// An act on a running sale that answers with the campaign.
fn at_once(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    if_match(of_sale(act(path, id, summary)))
        .tag(TAG)
        .answers(campaign(200, "The campaign as it is now"))
        .refuses([Code::CampaignArchived, Code::OlderEngines])
}

/// `POST …/pause`
pub fn pause() -> Operation {
    at_once(
        "/api/v1/campaigns/{campaign}/{sku}/pause",
        "pauseCampaign",
        "Pause a sale, for a while or until it is resumed",
    )
    .body::<bodies::Pause>()
}

/// `POST …/resume`
pub fn resume() -> Operation {
    at_once("/api/v1/campaigns/{campaign}/{sku}/resume", "resumeCampaign", "Let a paused sale go on")
        .body::<bodies::OnlyReason>()
}

/// `POST …/end`
pub fn end() -> Operation {
    at_once("/api/v1/campaigns/{campaign}/{sku}/end", "endCampaign", "End a sale now")
        .about("Who holds an order may still pay it.")
        .body::<bodies::OnlyReason>()
}

/// `POST …/extend`
pub fn extend() -> Operation {
    of_sale(act(
        "/api/v1/campaigns/{campaign}/{sku}/extend",
        "extendCampaignOrders",
        "Give all orders of a sale that wait to be paid more time",
    ))
    .tag(TAG)
    .body::<bodies::SaleExtension>()
    .answers(Answer::json::<bodies::SaleExtended>(200, "It is given."))
    .refuses([Code::CampaignArchived])
}

/// `GET …/audit`
pub fn audit() -> Operation {
    of_sale(look(
        "/api/v1/campaigns/{campaign}/{sku}/audit",
        "auditCampaign",
        "The units of a sale, counted in the store",
    ))
    .tag(TAG)
    .answers(Answer::json::<bodies::Audit>(200, "The units"))
    .refuses([Code::Overloaded])
}

/// `GET …/queue`
pub fn room() -> Operation {
    of_sale(look(
        "/api/v1/campaigns/{campaign}/{sku}/queue",
        "inspectWaitingRoom",
        "How far a sale's waiting room has come",
    ))
    .tag(TAG)
    .answers(Answer::json::<bodies::Room>(200, "The room"))
    .refuses([Code::NoQueue])
}

/// `POST …/queue/beacon`
pub fn beacon() -> Operation {
    of_sale(act(
        "/api/v1/campaigns/{campaign}/{sku}/queue/beacon",
        "giveBeaconValue",
        "Give the value of the beacon's round that a draw is mixed with",
    ))
    .about("Once registration has closed and the round is drawn; the first word counts. The same value again changes nothing.")
    .tag(TAG)
    .body::<bodies::BeaconGiven>()
    .answers(Answer::json::<bodies::Room>(200, "The room"))
    .refuses([Code::NoQueue, Code::NoBeacon, Code::BeaconNotDue, Code::DrawDecided])
}

/// `GET …/registrations`
pub fn registrations() -> Operation {
    let mark = json!({ "type": "string", "pattern": "^[0-9]{1,18}-[0-9a-f]{32}$" });
    let operation = look(
        "/api/v1/campaigns/{campaign}/{sku}/registrations",
        "exportRegistrations",
        "Who registered at a sale's waiting room, in order",
    );
    page(operation.takes(sale_in_path()), after("Behind the registration with this `mark`.", mark))
        .tag(TAG)
        .answers(Answer::new(200, "The registrations", Content::lines::<bodies::Registration>()).with("Link"))
        .refuses([Code::UnknownSale, Code::NoQueue])
}

/// `GET …/marks`
pub fn marks() -> Operation {
    let time = json!({ "type": "string", "format": "date-time" });
    let operation = look(
        "/api/v1/campaigns/{campaign}/{sku}/marks",
        "exportMarks",
        "How the marks of a sale's waiting room moved, in order",
    );
    page(operation.takes(sale_in_path()), after("Behind the move of this moment: its `at`.", time))
        .tag(TAG)
        .answers(Answer::new(200, "The moves", Content::lines::<bodies::Marks>()).with("Link"))
        .refuses([Code::UnknownSale, Code::NoQueue])
}
