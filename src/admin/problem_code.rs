//! Every code of the admin plane's problems, with the status that it is answered with, what it means and what helps.

use crate::openapi::ProblemKind;

macro_rules! codes {
    ($(
        $name:ident = $status:literal $code:literal
            means $meaning:literal
            helped by $cure:literal;
    )*) => {
        /// What is wrong, as programs go by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All kinds, as the pages and the description of the plane tell them.
            pub const KINDS: &'static [ProblemKind] =
                &[$(ProblemKind { status: $status, code: $code, meaning: $meaning, cure: $cure }),*];
        }
    };
}

codes! {
    BadRequest = 400 "bad-request"
        means "The request cannot be understood."
        helped by "Repair it as the detail says; sending the same again gives the same answer.";
    Unauthorized = 401 "unauthorized"
        means "There is no token, or one that is none."
        helped by "Send Authorization: Bearer with the value of admin.token or of one of admin.tokens.";
    Forbidden = 403 "forbidden"
        means "A page of another site sent the request."
        helped by "Use the console, or a program; pages of other sites may not use the admin API.";
    ForeignHost = 403 "foreign-host"
        means "There is no token, and the Host is not a name of this machine."
        helped by "Ask for localhost or a loopback address, list the name in admin.hosts, or set a token.";
    ClientCertificateRequired = 403 "client-certificate-required"
        means "The connection has shown no client certificate."
        helped by "Show a certificate of an authority that is in admin.tls.client_ca_file.";
    RoleTooLow = 403 "role-too-low"
        means "The token's role is not enough for this."
        helped by "Use a token of the role that role names. The trail tells of who tries more than the role allows.";
    ForeignTenant = 403 "foreign-tenant"
        means "The token is for one tenant, and the request is about another, or about all."
        helped by "Leave X-Tenant-ID out, or use a token that is bound to no tenant.";
    NotFound = 404 "not-found"
        means "There is nothing at this path."
        helped by "Look at the path; GET /openapi.json lists those that there are.";
    UnknownSale = 404 "unknown-sale"
        means "The tenant has no such campaign and SKU."
        helped by "Look at both names, and at X-Tenant-ID; a sale that was deleted is unknown as well.";
    UnknownTenant = 404 "unknown-tenant"
        means "This engine has no sale of the tenant, so that there is nothing to stop."
        helped by "Look at X-Tenant-ID. What was just made at another engine is here in a moment.";
    NoQueue = 404 "no-queue"
        means "The sale has no waiting room, and never had one."
        helped by "Give it one: PATCH the campaign with queue.";
    NoSearch = 404 "no-search"
        means "No search server is configured."
        helped by "Set search.kind and search.url, and restart the engine.";
    UnknownOrder = 404 "unknown-order"
        means "The tenant has no such order."
        helped by "Look at the order's number, and at X-Tenant-ID.";
    UnknownWebhook = 404 "unknown-webhook"
        means "The configuration has no endpoint of webhooks with this name, or the token does not see it."
        helped by "GET /api/v1/webhooks lists those that there are; webhooks.endpoints is where they are set.";
    MethodNotAllowed = 405 "method-not-allowed"
        means "This path has other methods."
        helped by "Use one of the methods of the Allow field.";
    CampaignExists = 409 "campaign-exists"
        means "The tenant has a campaign and SKU of this name already."
        helped by "Take another name, or change the one that there is with PATCH.";
    TooManyCampaigns = 409 "too-many-campaigns"
        means "The engine has as many sales as it may have."
        helped by "Archive sales that are over, or raise the limit that the detail names.";
    StockInUse = 409 "stock-in-use"
        means "So many units cannot be taken away: they are sold or held, or another node has them."
        helped by "Take away as many as units says, or try again when orders were let go.";
    CampaignNotOver = 409 "campaign-not-over"
        means "The sale goes on."
        helped by "Wait until ends_at, or end it with POST at end.";
    OrdersOpen = 409 "orders-open"
        means "Orders of the sale wait to be paid, or money of them is on its way."
        helped by "Wait until they are paid or have expired; units says how much is open.";
    CampaignHasOrders = 409 "campaign-has-orders"
        means "The sale has durable orders, so that it cannot be deleted."
        helped by "Archive it instead.";
    NoBeacon = 409 "no-beacon"
        means "No beacon was named for the sale's draw, or it draws nothing."
        helped by "Name one with queue.beacon before the sale starts.";
    BeaconNotDue = 409 "beacon-not-due"
        means "Buyers still register for the draw, or the beacon's round is not drawn yet."
        helped by "Give the value after due_at.";
    DrawDecided = 409 "draw-decided"
        means "It is decided already what the draw is made with: another value, or the seed alone."
        helped by "Nothing is left to be decided; GET at queue shows what was.";
    CampaignArchived = 409 "campaign-archived"
        means "The sale is archived and does not change any more."
        helped by "Make a new one. Money of its orders can be given back all the same, without units.";
    OlderEngines = 409 "older-engines"
        means "An engine of an older version, which does not know this, runs on the same store."
        helped by "Upgrade all engines, then try again.";
    OrderPaid = 409 "order-paid"
        means "The order is paid and cannot be cancelled."
        helped by "Give the money back with POST at refund.";
    OrderRefunded = 409 "order-refunded"
        means "All that was paid is given back already."
        helped by "Nothing is left to be done with this order.";
    OrderExpired = 409 "order-expired"
        means "The time to pay is over and the units are back on sale."
        helped by "The buyer can buy again, if units are left.";
    OrderRejected = 409 "order-rejected"
        means "The order was not accepted by the store and holds no units."
        helped by "The buyer can buy again, if units are left.";
    OrderPending = 409 "order-pending"
        means "The order is not durable yet."
        helped by "Try again after Retry-After.";
    OrderEnded = 409 "order-ended"
        means "The order neither waits to be paid nor is being paid, so that more time means nothing."
        helped by "Look at its status.";
    OrderNotPaid = 409 "order-not-paid"
        means "The order is not paid: there is nothing to give back."
        helped by "Cancel it instead.";
    PaymentInProgress = 409 "payment-in-progress"
        means "A payment of the order is under way."
        helped by "Try again after Retry-After; settle it when the gateway never tells.";
    PaymentCaptured = 409 "payment-captured"
        means "The gateway says that the money was taken: the order is paid."
        helped by "Look at the order; give the money back if it has to be.";
    NoPaymentUnderWay = 409 "no-payment-under-way"
        means "The order has no payment, or no refund, under way that could be settled so."
        helped by "Look at its status; order_status says it as well.";
    RefundInProgress = 409 "refund-in-progress"
        means "A refund of the order is under way."
        helped by "Try again after Retry-After; settle it when the gateway never tells.";
    RefundNumber = 409 "refund-number"
        means "The next refund of the order has another number: somebody else gave something back meanwhile."
        helped by "Look at the order again, and decide again; next is the number.";
    TooManyRefunds = 409 "too-many-refunds"
        means "The order had as many refunds as one may have."
        helped by "Give the money back at the gateway.";
    RefundRefused = 409 "refund-refused"
        means "The gateway refuses the refund; nothing was given back."
        helped by "The reason is the gateway's; give the money back by another way, then say so with by_hand.";
    RefundNotPossible = 409 "refund-not-possible"
        means "The gateway does not do refunds; nothing was given back."
        helped by "Give the money back there by another way, then say so with by_hand.";
    GatewayNotConfigured = 409 "gateway-not-configured"
        means "The gateway that has the payment is not configured here."
        helped by "List it in checkout.former_gateways.";
    ProfileUnderWay = 409 "profile-under-way"
        means "Another profile of the engine is being taken."
        helped by "Try again after Retry-After.";
    ChangedMeanwhile = 412 "changed-meanwhile"
        means "The campaign is not the version of If-Match any more; nothing was changed."
        helped by "Look at the campaign again, and decide again; etag is its version.";
    BodyTooLarge = 413 "body-too-large"
        means "The body is larger than admin.body_bytes_max."
        helped by "Send less.";
    InvalidField = 422 "invalid-field"
        means "A field of the body or of the query breaks its rule."
        helped by "Repair the field that field names; the detail has the rule.";
    InvalidConfig = 422 "invalid-config"
        means "The configuration cannot be used; the one before stays."
        helped by "Repair the keys that keys names; seckill check-config says the same.";
    RestartRequired = 422 "restart-required"
        means "The configuration changes what cannot change while the engine runs; the one before stays."
        helped by "Restart the engine, or take the keys back that keys names.";
    TooManyWrongTokens = 429 "too-many-wrong-tokens"
        means "Many wrong tokens came from this address."
        helped by "Try again after Retry-After, with the right one.";
    Internal = 500 "internal"
        means "Something broke down that should not; nothing has changed."
        helped by "Look at the engine's log, and report it.";
    StoreUnavailable = 503 "store-unavailable"
        means "The order store does not answer, or not in time."
        helped by "Where something was to be changed, look at what became of it before it is repeated: it may come about later.";
    OrdersInFlight = 503 "orders-in-flight"
        means "Orders with lower numbers than the last ones are still on their way to the store."
        helped by "Ask for the same page again.";
    PaymentUnavailable = 503 "payment-unavailable"
        means "The gateway or the order store does not answer; nothing was given back yet."
        helped by "Try again with the same number.";
    Overloaded = 503 "overloaded"
        means "The engine is busy selling, and reads give way."
        helped by "Ask again after Retry-After.";
    Timeout = 503 "timeout"
        means "The request took longer than admin.request_timeout_ms."
        helped by "Ask for less at once, or raise the limit.";
    TooManyConnections = 503 "too-many-connections"
        means "There are as many connections as may be."
        helped by "Try again after Retry-After; end connections that are not used.";
    TooManyViewers = 503 "too-many-viewers"
        means "As many watch the live feed as may."
        helped by "Try again after Retry-After, or raise admin.live_viewers_max.";
    Starting = 503 "starting"
        means "The engine is starting."
        helped by "Wait until GET /readyz answers 200; it says how far the start is.";
}

impl Code {
    /// What it means.
    pub const fn kind(self) -> &'static ProblemKind {
        &Self::KINDS[self as usize]
    }

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        self.kind().code
    }
}

impl From<Code> for ProblemKind {
    fn from(code: Code) -> Self {
        *code.kind()
    }
}
