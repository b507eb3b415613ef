//! The description of the data plane: for each [`Route`] what is sent and what is answered.

use std::sync::LazyLock;

use serde_json::json;

use super::openapi_bodies as bodies;
use super::problem::{self, KINDS, Problem};
use super::route::Route;
use crate::domain::KeyName;
use crate::openapi::parts::{self, order_in_path, sale_in_path, sale_in_query};
use crate::openapi::{
    Access, Answer, Description, Document, Method, Name, Operation, Order, OrderNumber, Parameter,
    ProblemKind, shape,
};

/// One route of each kind. Whoever adds a kind describes it in [`operation`], which does not compile otherwise, and
/// lists it here.
const ROUTES: [Route<'static>; 11] = [
    Route::SaleState { campaign: "", sku: "" },
    Route::Purchase { campaign: "", sku: "" },
    Route::RoomState { campaign: "", sku: "" },
    Route::Register { campaign: "", sku: "" },
    Route::Orders,
    Route::Order { id: "" },
    Route::Checkout { id: "" },
    Route::Cancel { id: "" },
    Route::Description,
    Route::Problems,
    Route::Problem { code: "" },
];

const ABOUT: &str = "\
Buyers' requests. What is wrong is told in this order: a malformed request (400), an unknown path or sale (404), \
who asks (401, 403), then the sale's own answer.\n\n\
Every refusal and error is `application/problem+json` (RFC 9457): programs go by its `code`, people read its \
`detail`, its `type` leads to a page about the code, and its `instance` is the request's id. Trying again can \
help where there is `Retry-After`.\n\n\
Answers may get more members: pass over those that you do not know. `HEAD` is answered as `GET` without the \
body. Times are RFC 3339 in UTC, money is whole numbers of the currency's smallest unit. Answers are `no-store`, \
but for the public documents, which say themselves how long they may be kept.\n\n\
The buyer is named by the configured way (`edge.auth.mode`): a gateway's header, or a token. Not described here is \
the page of a sale for people (`/seckill/{campaign}/{sku}/page`, where `edge.page` is on), which is built on this.";

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| description().document::<bodies::Problem>());

/// The document of `GET /openapi.json` on the data plane.
pub fn document() -> &'static Document {
    &DOCUMENT
}

fn description() -> Description {
    Description {
        title: "seckill: data plane",
        about: ABOUT,
        tags: &[
            ("sales", "What is sold, and buying it."),
            ("waiting room", "Waiting in a fair order, where a sale asks for it."),
            ("orders", "The asking buyer's own orders."),
            ("description", "This document, and the pages about problems."),
        ],
        schemes: json!({
            "token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "With `edge.auth.mode = \"jwt\"`: `sub` is the buyer.",
            },
            "gateway": {
                "type": "apiKey",
                "in": "header",
                "name": "X-User-ID",
                "description": "With `edge.auth.mode = \"trusted_header\"`: the name that the gateway in front has found out. \
                                The gateway removes what clients send.",
            },
        }),
        accepts: &["token", "gateway"],
        kinds: KINDS.to_vec(),
        common,
        operations: ROUTES.into_iter().filter_map(operation).collect(),
    }
}

/// What any request may hear: of its framing, of who is heard at all, of its tenant, of a plane that has no place.
fn common(operation: &Operation) -> Vec<ProblemKind> {
    let mut common = vec![
        &problem::BAD_REQUEST,
        &problem::FOREIGN_ORIGIN,
        &problem::BODY_TIMEOUT,
        &problem::BODY_TOO_LARGE,
        &problem::EXPECTATION_FAILED,
        &problem::OVERLOADED,
    ];
    if operation.method != Method::Get {
        common.push(&problem::CROSS_SITE);
    }
    if !matches!(operation.path, "/openapi.json" | "/problems" | "/problems/{code}") {
        // A public page asks for a name only where a token says whose it is.
        common.extend([&problem::NO_TENANT, &problem::TENANT_NOT_ALLOWED, &problem::NO_TOKEN]);
    }
    common.into_iter().map(Into::into).collect()
}

/// What a route does. `None`: it is a page for people, which is built on the others and changes as it needs.
fn operation(route: Route<'_>) -> Option<Operation> {
    use Method::{Delete, Get, Post};
    Some(match route {
        Route::BuyerPage { .. } | Route::BuyerForm { .. } | Route::OwnPage { .. } | Route::PagePart { .. } => {
            return None;
        }
        Route::SaleState { .. } => {
            Operation::new(Get, "/seckill/{campaign}/{sku}", "getSaleState", "The public state of a sale")
                .about("For pages and the CDN in front of them; needs no identity.")
                .tag("sales")
                .takes(sale_in_path().into_iter().chain([tenant(), platform()]))
                .answers(Answer::json::<bodies::SaleState>(200, "The state").public())
                .refuses([&problem::UNKNOWN_SALE])
        }
        Route::Purchase { .. } => Operation::new(Post, "/seckill/{campaign}/{sku}", "buy", "Buy")
            .about("Decided in memory; a winner is answered when the order is durable.")
            .tag("sales")
            .access(Access::Buyer)
            .takes(sale_in_path().into_iter().chain([tenant(), idempotency_key(), pass()]))
            .body_if_any::<bodies::PurchaseBody>()
            .answers(order(200, "The same `Idempotency-Key` again: the first answer's order, as it is now.").with("Location"))
            .answers(order(201, "The order is durable.").with("Location"))
            .answers(
                Answer::json::<bodies::PendingOrder>(202, "Admitted, and not durable within `edge.ack_wait_ms`: look it up.")
                    .with("Location")
                    .with("Retry-After")
                    .leads_to("getOrder", "id", "order_id"),
            )
            .refuses(PURCHASE),
        Route::RoomState { .. } => Operation::new(
            Get,
            "/seckill/{campaign}/{sku}/queue",
            "getWaitingRoom",
            "How far a sale's waiting room has come",
        )
        .about("One document for everybody; a client tells its own turn from its pass and this.")
        .tag("waiting room")
        .takes(sale_in_path().into_iter().chain([tenant()]))
        .answers(Answer::json::<bodies::Room>(200, "The room").public())
        .refuses([&problem::UNKNOWN_SALE, &problem::NO_QUEUE]),
        Route::Register { .. } => {
            Operation::new(Post, "/seckill/{campaign}/{sku}/queue", "register", "Take a place in a sale's waiting room")
                .about("In a draw the same buyer has the same place, however often and wherever this is asked; by arrival, a \
                        second registration is never better than the first.")
                .tag("waiting room")
                .access(Access::Buyer)
                .takes(sale_in_path().into_iter().chain([tenant(), pass(), gate_token()]))
                .body_if_any::<bodies::RegistrationBody>()
                .answers(Answer::json::<bodies::Place>(201, "The place, and the pass").with("Set-Cookie"))
                .refuses([
                    &problem::UNKNOWN_SALE,
                    &problem::NO_USER,
                    &problem::NO_QUEUE,
                    &problem::REGISTRATION_REFUSED,
                    &problem::REGISTRATION_UNAVAILABLE,
                    &problem::QUEUE_CLOSED,
                    &problem::SOLD_OUT,
                    &problem::SALE_PAUSED,
                    &problem::SALE_ENDED,
                    &problem::RATE_LIMITED,
                ])
        }
        Route::Orders => Operation::new(Get, "/orders", "listOrders", "The buyer's own orders, the newest first")
            .about("Of orders that were let go, the latest 64 of each sale.")
            .tag("orders")
            .access(Access::Buyer)
            .takes(sale_in_query())
            .takes([
                tenant(),
                Parameter::query("limit", "Orders of one answer; 20 if it is not said.")
                    .of(json!({ "type": "integer", "minimum": 1, "maximum": 100 })),
                Parameter::query("before", "Those before this one: the `before` of the last page.")
                    .of(shape::<OrderNumber>()),
            ])
            .answers(Answer::json::<bodies::Orders>(200, "The orders"))
            .refuses([&problem::NO_USER, &problem::RATE_LIMITED]),
        Route::Order { .. } => of_order(Get, "/orders/{id}", "getOrder", "An order of the asking buyer")
            .answers(order(200, "The order"))
            .refuses([&problem::UNKNOWN_ORDER]),
        Route::Checkout { .. } => of_order(Post, "/orders/{id}/checkout", "payOrder", "Pay for an order")
            .about("A repeat of a payment that was made answers the same.")
            .body::<bodies::CheckoutBody>()
            .answers(order(200, "It is paid."))
            .answers(
                order(202, "It is `paying`: the outcome is not known yet; look it up.")
                    .with("Location")
                    .with("Retry-After"),
            )
            .refuses([
                &problem::UNKNOWN_ORDER,
                &problem::PAYMENT_DECLINED,
                &problem::RISK_REJECTED,
                &problem::TOO_MANY_ATTEMPTS,
                &problem::ORDER_EXPIRED,
                &problem::ORDER_CANCELLED,
                &problem::ORDER_REFUNDED,
                &problem::ORDER_REJECTED,
                &problem::ORDER_PENDING,
                &problem::PAYMENT_METHOD_NOT_ALLOWED,
                &problem::PAYMENT_UNAVAILABLE,
            ]),
        Route::Cancel { .. } => of_order(Delete, "/orders/{id}", "cancelOrder", "Let an order go")
            .about("Its units go back on sale. The order stays, and can be looked up. 503 `overloaded`: what came of it is not \
                    known within `checkout.wait_ms`; ask again.")
            .answers(order(200, "It is `cancelled`; a repeat answers the same."))
            .refuses([
                &problem::UNKNOWN_ORDER,
                &problem::ORDER_PAID,
                &problem::ORDER_REFUNDED,
                &problem::PAYMENT_IN_PROGRESS,
                &problem::ORDER_EXPIRED,
                &problem::ORDER_REJECTED,
                &problem::ORDER_PENDING,
            ]),
        Route::Description => parts::description(),
        Route::Problems => parts::problems(),
        Route::Problem { .. } => parts::problem("sold-out", &problem::NOT_FOUND),
    })
}

/// What a purchase may be refused with.
const PURCHASE: [&Problem; 13] = [
    &problem::UNKNOWN_SALE,
    &problem::NO_USER,
    &problem::WAITING_ROOM,
    &problem::ALREADY_PURCHASED,
    &problem::SALE_NOT_STARTED,
    &problem::SALE_PAUSED,
    &problem::SOLD_OUT,
    &problem::TOO_MANY_RELEASES,
    &problem::SALE_ENDED,
    &problem::IDEMPOTENCY_KEY_REUSED,
    &problem::QUANTITY_NOT_ALLOWED,
    &problem::RATE_LIMITED,
    &problem::UNKNOWN_ORDER,
];

/// An operation on one order of the asking buyer.
fn of_order(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, id, summary)
        .tag("orders")
        .access(Access::Buyer)
        .takes([order_in_path(), tenant()])
        .refuses([&problem::NO_USER, &problem::RATE_LIMITED])
}

/// An answer that is an order.
fn order(status: u16, about: &'static str) -> Answer {
    Answer::json::<Order>(status, about).leads_to("getOrder", "id", "order_id")
}

fn tenant() -> Parameter {
    Parameter::header(
        "X-Tenant-ID",
        "Whose sale or order it is, with `edge.tenant.from = \"header\"`; `default` if it is not said.",
    )
    .of(shape::<Name>())
}

fn platform() -> Parameter {
    Parameter::header(
        "X-Platform",
        "Which members to show: a platform of `edge.sale_state.platforms`; another one sees all.",
    )
}

fn idempotency_key() -> Parameter {
    Parameter::header(
        "Idempotency-Key",
        "The client's name of this attempt: a repeat with the same key never buys twice.",
    )
    .of(json!({ "type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": KeyName::BYTES_MAX }))
}

fn gate_token() -> Parameter {
    Parameter::header(
        "X-Gate-Token",
        "What the check at the door of the room wants to see, such as a solved riddle's token.",
    )
}

fn pass() -> Parameter {
    Parameter::header("X-Sale-Pass", "The pass of the sale's waiting room; or the cookie `sale_pass`.")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::route::NoRoute;
    use super::*;

    /// A path with something in the place of its parameters.
    fn sample(path: &str) -> String {
        path.replace("{campaign}", "c").replace("{sku}", "s").replace("{id}", "i").replace("{code}", "x")
    }

    #[test]
    fn each_route_is_described_as_it_is_found() {
        for route in ROUTES {
            let described = operation(route).expect("it is described");
            let path = sample(described.path);
            let found = Route::find(described.method.as_str(), &path).expect("a route");
            assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&route), "{path}");
        }
    }

    #[test]
    fn a_path_has_the_methods_that_are_described() {
        let operations = description().operations;
        for path in operations.iter().map(|operation| operation.path) {
            let Err(NoRoute::MethodNotAllowed { allow }) = Route::find("PUT", &sample(path)) else {
                panic!("{path} takes PUT, or is none")
            };
            for method in Method::ALL.map(Method::as_str) {
                let is_described =
                    operations.iter().any(|other| other.path == path && other.method.as_str() == method);
                let is_allowed = allow.split(", ").any(|allowed| allowed == method);
                assert_eq!(
                    (is_allowed, Route::find(method, &sample(path)).is_ok()),
                    (is_described, is_described)
                );
            }
        }
    }

    #[test]
    fn each_problem_is_one_that_an_operation_may_answer_with() {
        let text = String::from_utf8(document().text.to_vec()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let paths = document["paths"].to_string();
        // What no operation is at all has this one.
        let everywhere = ProblemKind::from(&problem::METHOD_NOT_ALLOWED);
        for kind in KINDS.iter().filter(|kind| **kind != everywhere) {
            assert!(
                paths.contains(&format!("(/problems/{})", kind.code)),
                "{} stands at no operation",
                kind.code
            );
            assert!(document["x-problems"][kind.code]["meaning"].is_string());
        }
    }
}
