//! The trail: which operator did what, when, from where and why.
//!
//! Entries are only ever added, each in the transaction of its act: an act that is durable is told, and one that is told is
//! durable. A store refuses whoever would change or remove one.

use serde_json::{Map, Value, json};

use crate::domain::{EpochMs, Order, Sale};

/// Who acts, and how the word came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name that goes with the token; `local` where none is asked for.
    pub who: String,
    /// What the actor may do.
    pub role: String,
    /// The address that the request came from.
    pub address: String,
    /// The id of the request.
    pub request_id: String,
}

/// What operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActKind {
    /// A sale was made.
    CampaignCreated,
    /// Its terms or its stock were changed.
    CampaignChanged,
    /// A sale was paused.
    CampaignPaused,
    /// A pause was ended.
    CampaignResumed,
    /// A sale was ended.
    CampaignEnded,
    /// A sale that was over was archived.
    CampaignArchived,
    /// A sale without orders was deleted.
    CampaignDeleted,
    /// All orders of a sale were given more time to pay.
    CampaignExtended,
    /// The value of the beacon that the draw of a sale is mixed with was given, or given up.
    CampaignBeacon,
    /// An order was given more time to pay.
    OrderExtended,
    /// An order was given up for its buyer.
    OrderCancelled,
    /// A payment or a refund was ended by hand.
    OrderSettled,
    /// What an order paid, or a part of it, is given back.
    OrderRefunded,
    /// All sales of a tenant, or of all, were stopped.
    SalesStopped,
    /// They go on.
    SalesResumed,
    /// An endpoint of webhooks is told again.
    WebhookEnabled,
    /// An endpoint of webhooks is told nothing any more.
    WebhookDisabled,
    /// An endpoint of webhooks is told a log again from a number on.
    WebhookReplayed,
    /// The search index is to be built anew.
    SearchRebuildAsked,
    /// It was, by an engine.
    SearchRebuilt,
    /// It could not be, and is as it was.
    SearchRebuildFailed,
    /// The configuration was read again.
    ConfigReloaded,
    /// A profile of the engine was taken.
    ProfileTaken,
    /// Somebody tried what the role of the token does not allow.
    ActRefused,
    /// A token came that is none.
    SignInRefused,
}

impl ActKind {
    /// All kinds.
    pub const ALL: [Self; 25] = [
        Self::CampaignCreated,
        Self::CampaignChanged,
        Self::CampaignPaused,
        Self::CampaignResumed,
        Self::CampaignEnded,
        Self::CampaignArchived,
        Self::CampaignDeleted,
        Self::CampaignExtended,
        Self::CampaignBeacon,
        Self::OrderExtended,
        Self::OrderCancelled,
        Self::OrderSettled,
        Self::OrderRefunded,
        Self::SalesStopped,
        Self::SalesResumed,
        Self::WebhookEnabled,
        Self::WebhookDisabled,
        Self::WebhookReplayed,
        Self::SearchRebuildAsked,
        Self::SearchRebuilt,
        Self::SearchRebuildFailed,
        Self::ConfigReloaded,
        Self::ProfileTaken,
        Self::ActRefused,
        Self::SignInRefused,
    ];

    /// The name that the trail keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CampaignCreated => "campaign.created",
            Self::CampaignChanged => "campaign.changed",
            Self::CampaignPaused => "campaign.paused",
            Self::CampaignResumed => "campaign.resumed",
            Self::CampaignEnded => "campaign.ended",
            Self::CampaignArchived => "campaign.archived",
            Self::CampaignDeleted => "campaign.deleted",
            Self::CampaignExtended => "campaign.extended",
            Self::CampaignBeacon => "campaign.beacon",
            Self::OrderExtended => "order.extended",
            Self::OrderCancelled => "order.cancelled",
            Self::OrderSettled => "order.settled",
            Self::OrderRefunded => "order.refunded",
            Self::SalesStopped => "sales.stopped",
            Self::SalesResumed => "sales.resumed",
            Self::WebhookEnabled => "webhook.enabled",
            Self::WebhookDisabled => "webhook.disabled",
            Self::WebhookReplayed => "webhook.replayed",
            Self::SearchRebuildAsked => "search.rebuild-asked",
            Self::SearchRebuilt => "search.rebuilt",
            Self::SearchRebuildFailed => "search.rebuild-failed",
            Self::ConfigReloaded => "config.reloaded",
            Self::ProfileTaken => "profile.taken",
            Self::ActRefused => "act.refused",
            Self::SignInRefused => "sign-in.refused",
        }
    }
}

/// An act that an operator asks for, as the trail tells it once it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Tells this act from every other: one whose answer was lost is done again and told once.
    pub id: i64,
    /// When it was asked for.
    pub at: EpochMs,
    /// Who asked.
    pub actor: Actor,
    /// Whose sale or order it is about; `None` where it is about all tenants'.
    pub tenant: Option<String>,
    /// What is done.
    pub kind: ActKind,
    /// What it is done to: a sale's name, an order's number.
    pub object: String,
    /// What was; [`Value::Null`] where there is nothing to tell.
    pub from: Value,
    /// What is from then on; [`Value::Null`] where there is nothing to tell.
    pub to: Value,
    /// Why.
    pub reason: Option<String>,
}

impl Act {
    /// The same act, which has made of an order that was so what it is `now`.
    #[must_use]
    pub fn moved(&self, was: &Order, now: &Order) -> Self {
        let status = |order: &Order| json!({ "status": order.status.as_str() });
        let (from, mut to) = (status(was), status(now));
        if now.refunds.begun > was.refunds.begun {
            to["refund"] = now.refunds.begun.into();
            to["amount_cents"] = now.refunds.amount.0.into();
            to["restock"] = now.refunds.restock.into();
        }
        Self { from, to, ..self.clone() }
    }
}

/// An act that makes or changes a sale. What has changed is known only in the store's transaction.
#[derive(Clone, Debug)]
pub struct SaleAct {
    /// The act.
    pub act: Act,
    /// The fields of a sale that the trail tells.
    pub show: fn(&Sale) -> Map<String, Value>,
}

impl SaleAct {
    /// The act that has made `sale`.
    pub fn made(&self, sale: &Sale) -> Act {
        Act { to: Value::Object((self.show)(sale)), ..self.act.clone() }
    }

    /// The act that has made `after` of `before`: it tells the fields that differ.
    pub fn changed(&self, before: &Sale, after: &Sale) -> Act {
        let (mut from, mut to) = ((self.show)(before), (self.show)(after));
        let same: Vec<String> = from
            .iter()
            .filter(|(name, value)| to.get(*name) == Some(value))
            .map(|(name, _)| name.clone())
            .collect();
        for name in same {
            from.remove(&name);
            to.remove(&name);
        }
        Act { from: Value::Object(from), to: Value::Object(to), ..self.act.clone() }
    }
}

/// How a sale is shown is no part of what the act is.
impl PartialEq for SaleAct {
    fn eq(&self, other: &Self) -> bool {
        self.act == other.act
    }
}

impl Eq for SaleAct {}

/// An act as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEntry {
    /// Its number; they grow, and may have gaps.
    pub seq: u64,
    /// When it was asked for.
    pub at: EpochMs,
    /// Who asked.
    pub actor: Actor,
    /// Whose sale or order it is about; `None` where it is about all tenants'.
    pub tenant: Option<String>,
    /// [`ActKind::as_str`], or the name that a later engine gave.
    pub kind: String,
    /// What it was done to.
    pub object: String,
    /// What was.
    pub from: Value,
    /// What is from then on.
    pub to: Value,
    /// Why.
    pub reason: Option<String>,
}

/// Which entries are looked at, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailFilter {
    /// About this tenant only, and not about all of them. `None`: about whomever.
    pub tenant: Option<String>,
    /// By this actor only.
    pub who: Option<String>,
    /// Of this kind only.
    pub kind: Option<String>,
    /// About objects only whose names have this part.
    pub object: Option<String>,
    /// Before the entry with this number.
    pub before: Option<u64>,
    /// So many at most.
    pub limit: usize,
}

/// What an act was, or came to, for its column; `None` where there is nothing to tell.
pub(super) fn told(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}

/// The other way round. A text that is no JSON is shown as the text that it is.
pub(super) fn heard(text: Option<String>) -> Value {
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
