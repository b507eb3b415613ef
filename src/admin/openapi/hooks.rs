//! Operations on webhooks.

use super::campaign_bodies::OnlyReason;
use super::hook_bodies as bodies;
use super::parts::{act, look, tenant};
use crate::admin::problem_code::Code;
use crate::openapi::{Answer, Operation, Parameter};

const TAG: &str = "webhooks";

fn of_endpoint(operation: Operation) -> Operation {
    operation
        .tag(TAG)
        .takes([
            Parameter::path("name", "The endpoint's name in the configuration.").such_as("shipping"),
            tenant(),
        ])
        .answers(Answer::json::<bodies::Endpoint>(200, "The endpoint as it is now"))
        .refuses([Code::UnknownWebhook, Code::StoreUnavailable])
}

/// `GET /api/v1/webhooks`
pub fn list() -> Operation {
    look("/api/v1/webhooks", "listWebhooks", "The endpoints that are told of orders and sales")
        .about("Those of the configuration that the token sees.")
        .tag(TAG)
        .takes([tenant()])
        .answers(Answer::json::<bodies::Endpoints>(200, "The endpoints"))
        .refuses([Code::StoreUnavailable])
}

/// `GET /api/v1/webhooks/{name}`
pub fn show() -> Operation {
    of_endpoint(look("/api/v1/webhooks/{name}", "getWebhook", "An endpoint"))
}

/// `POST …/enable`
pub fn enable() -> Operation {
    of_endpoint(act(
        "/api/v1/webhooks/{name}/enable",
        "enableWebhook",
        "Tell an endpoint again, from where it was",
    ))
    .body::<OnlyReason>()
}

/// `POST …/disable`
pub fn disable() -> Operation {
    of_endpoint(act("/api/v1/webhooks/{name}/disable", "disableWebhook", "Tell an endpoint nothing"))
        .about("What happens waits for it in the logs.")
        .body::<OnlyReason>()
}

/// `POST …/replay`
pub fn replay() -> Operation {
    of_endpoint(act(
        "/api/v1/webhooks/{name}/replay",
        "replayWebhook",
        "Tell an endpoint everything from an event on",
    ))
    .about("Again, or for the first time.")
    .body::<bodies::Replay>()
}
