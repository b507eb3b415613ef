//! What an order store keeps of webhooks: how far each endpoint has been told of each log, and how it fares. Nothing here is on
//! the way of a purchase.
//!
//! There are two logs: the events of orders, and the acts on sales, which the trail keeps. Each is read from its number on,
//! so a cursor that is behind costs nothing, and every event that an endpoint has missed is there when it comes back: neither
//! log is ever cut.
//!
//! One engine delivers. It *claims* the endpoints first; what another engine, or an earlier life, still wants to save of them
//! is not kept from then on. An operator's act does the same to the engine that delivers: it begins anew with what the act has
//! made of the endpoint.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::store_error::StoreError;
use super::trail::{Act, TrailEntry};
use crate::domain::EpochMs;

/// Which log an event stands in. Each has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToldLog {
    /// What happened to orders.
    Orders,
    /// What operators, or the engine's own rules, did to sales.
    Sales,
}

impl ToldLog {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Orders, Self::Sales];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Sales => "sales",
        }
    }
}

/// How far an endpoint has been told of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogCursor {
    /// Every event up to this number is delivered, is none that the endpoint wants, or is of a sale that is held.
    pub through: u64,
    /// Sales of which the endpoint refused an event, with its number: others go on meanwhile, this one goes on from there.
    pub held: BTreeMap<String, u64>,
}

/// How an endpoint fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// Since when nothing was delivered although it was tried. Time in which no engine tried moves it.
    pub failing_since: Option<EpochMs>,
    /// Tries since the last delivery.
    pub failures: u32,
    /// When a delivery failed last, and why.
    pub last_failure: Option<(EpochMs, String)>,
    /// When something was delivered last.
    pub last_delivery: Option<EpochMs>,
    /// When is tried again, where something failed.
    pub next_try: Option<EpochMs>,
}

/// All that changes of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookState {
    /// How far it was told of orders.
    pub orders: LogCursor,
    /// How far it was told of sales.
    pub sales: LogCursor,
    /// How it fares.
    pub health: WebhookHealth,
    /// Since when it is told nothing, and why.
    pub disabled: Option<(EpochMs, String)>,
}

impl WebhookState {
    /// How far it was told of this log.
    pub fn cursor(&self, log: ToldLog) -> &LogCursor {
        match log {
            ToldLog::Orders => &self.orders,
            ToldLog::Sales => &self.sales,
        }
    }

    /// The same, to be changed.
    pub fn cursor_mut(&mut self, log: ToldLog) -> &mut LogCursor {
        match log {
            ToldLog::Orders => &mut self.orders,
            ToldLog::Sales => &mut self.sales,
        }
    }
}

/// An endpoint as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its name in the configuration.
    pub name: String,
    /// Who claimed it last.
    pub owner: i64,
    /// Raised by each claim and each act.
    pub generation: u64,
    /// How far it is.
    pub state: WebhookState,
}

/// The last number of each log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnds {
    /// Of the events of orders.
    pub orders: u64,
    /// Of the trail.
    pub sales: u64,
}

impl LogEnds {
    /// The last number of this log.
    pub const fn of(self, log: ToldLog) -> u64 {
        match log {
            ToldLog::Orders => self.orders,
            ToldLog::Sales => self.sales,
        }
    }
}

/// Something that is written down of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookStep {
    /// These endpoints are known from now on. One that was not known is told of what happens from this moment on.
    Enter(Vec<String>),
    /// Whoever claims delivers to these endpoints from now on, alone.
    Claim {
        /// Tells this claim from every other.
        owner: i64,
        /// The endpoints.
        names: Vec<String>,
    },
    /// How far deliveries have come.
    Save(Vec<WebhookSave>),
    /// An operator's act.
    Act(Box<WebhookAct>),
}

/// How far deliveries to one endpoint have come. It is not kept where the endpoint has been claimed by somebody else, or was
/// acted on, meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSave {
    /// The endpoint.
    pub name: String,
    /// The claim under which was delivered.
    pub owner: i64,
    /// What was known of the endpoint then.
    pub generation: u64,
    /// How far it is.
    pub state: WebhookState,
    /// What the trail tells, where the engine itself has given the endpoint up: that raises the generation as any act does.
    pub act: Option<Act>,
}

/// What an operator does to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookChange {
    /// It is told again, from where it was.
    Enable,
    /// It is told nothing.
    Disable,
    /// It is told all events of a log above a number, again or not. A sale that is held at an event before that goes on
    /// from there all the same, unless what it has not taken is to be left out for good.
    Replay {
        /// Which log.
        log: ToldLog,
        /// The number before the first that is told.
        after: u64,
        /// Whether events up to that number are left out of sales that are held.
        skip_held: bool,
    },
}

/// An operator's act on an endpoint, for the store and the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAct {
    /// The endpoint.
    pub name: String,
    /// What is done.
    pub change: WebhookChange,
    /// The act, without what it changes.
    pub act: Act,
}

impl WebhookAct {
    /// What becomes of an endpoint that is so, and the act as the trail tells it.
    pub(super) fn decide(&self, before: &WebhookState) -> (WebhookState, Act) {
        let mut state = before.clone();
        let (from, to) = match &self.change {
            WebhookChange::Enable => {
                state.disabled = None;
                state.health.failing_since = None;
                state.health.failures = 0;
                state.health.next_try = None;
                (is_disabled(before), is_disabled(&state))
            }
            WebhookChange::Disable => {
                let why = self.act.reason.clone().unwrap_or_else(|| "by an operator".into());
                state.disabled = Some((self.act.at, why));
                state.health.next_try = None;
                (is_disabled(before), is_disabled(&state))
            }
            WebhookChange::Replay { log, after, skip_held } => {
                let mut held = before.cursor(*log).held.clone();
                held.retain(|_, first| *first <= *after);
                let left_out = if *skip_held { std::mem::take(&mut held) } else { BTreeMap::new() };
                *state.cursor_mut(*log) = LogCursor { through: *after, held };
                let told = |through: u64| json!({ "log": log.as_str(), "through": through });
                let mut to = told(*after);
                if !left_out.is_empty() {
                    to["left_out"] = json!(left_out);
                }
                (told(before.cursor(*log).through), to)
            }
        };
        (state, Act { from, to, ..self.act.clone() })
    }
}

fn is_disabled(state: &WebhookState) -> Value {
    json!({ "disabled": state.disabled.is_some() })
}

/// The writing half, as far as webhooks go. What met a transient error may be asked for again, and comes to the same.
pub trait WebhookWriter {
    /// Writes it down. Whether all of it was: an act is not done to an endpoint that is not known, and a save may be out of
    /// date.
    ///
    /// # Errors
    /// See [`Fault`](super::Fault).
    fn step_webhooks(&mut self, step: &WebhookStep) -> Result<bool, StoreError>;
}

/// The reading half, as far as webhooks go. All methods block.
pub trait WebhookReader {
    /// All endpoints that were ever known, by name, and the ends of the logs, as of one moment.
    ///
    /// # Errors
    /// What the database says.
    fn webhooks(&self) -> Result<(Vec<WebhookRow>, LogEnds), StoreError>;

    /// Entries of the trail above `after`, about whichever tenant, in order, at most `limit`.
    ///
    /// # Errors
    /// What the database says.
    fn all_acts_after(&self, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError>;
}

/// What is held, for its column.
pub(super) fn held_column(cursor: &LogCursor) -> String {
    json!(cursor.held).to_string()
}

/// The other way round; `None` for what is no such column.
pub(super) fn held_of(column: &str) -> Option<BTreeMap<String, u64>> {
    serde_json::from_str(column).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::{ActKind, Actor};

    fn act(change: WebhookChange) -> WebhookAct {
        let text = str::to_owned;
        let actor =
            Actor { who: text("ann"), role: text("operator"), address: text("::1"), request_id: text("r") };
        let act = Act {
            id: 1,
            at: EpochMs(9),
            actor,
            tenant: None,
            kind: ActKind::WebhookReplayed,
            object: text("erp"),
            from: Value::Null,
            to: Value::Null,
            reason: Some(text("lost")),
        };
        WebhookAct { name: text("erp"), change, act }
    }

    #[test]
    fn acts_change_what_they_say_and_nothing_else() {
        let held = BTreeMap::from([("default:c/s".to_owned(), 7)]);
        let before = WebhookState {
            orders: LogCursor { through: 9, held: held.clone() },
            sales: LogCursor { through: 3, held },
            health: WebhookHealth { failures: 4, failing_since: Some(EpochMs(5)), ..Default::default() },
            disabled: Some((EpochMs(6), "gone".into())),
        };
        let (enabled, told) = act(WebhookChange::Enable).decide(&before);
        assert_eq!((enabled.disabled, enabled.health.failures), (None, 0));
        assert_eq!(enabled.orders, before.orders);
        assert_eq!((told.from, told.to), (json!({ "disabled": true }), json!({ "disabled": false })));

        let replay = |after, skip_held| {
            act(WebhookChange::Replay { log: ToldLog::Orders, after, skip_held }).decide(&before)
        };
        let (replayed, told) = replay(2, false);
        assert_eq!(replayed.orders, LogCursor { through: 2, held: BTreeMap::new() });
        assert_eq!((&replayed.sales, &replayed.disabled), (&before.sales, &before.disabled));
        assert_eq!(told.to, json!({ "log": "orders", "through": 2 }));
        // What a held sale has not been told is not lost because others are told something again.
        let (replayed, told) = replay(8, false);
        assert_eq!(replayed.orders, LogCursor { through: 8, held: before.orders.held.clone() });
        assert_eq!(told.to, json!({ "log": "orders", "through": 8 }));
        let (replayed, told) = replay(8, true);
        assert_eq!(replayed.orders, LogCursor { through: 8, held: BTreeMap::new() });
        assert_eq!(told.to["left_out"], json!({ "default:c/s": 7 }));

        let (disabled, _) = act(WebhookChange::Disable).decide(&WebhookState::default());
        assert_eq!(disabled.disabled, Some((EpochMs(9), "lost".into())));
    }

    #[test]
    fn what_is_held_fits_its_column() {
        let held = BTreeMap::from([("a:b/c".to_owned(), 1), ("a:b/d".to_owned(), u64::MAX)]);
        let cursor = LogCursor { through: 0, held: held.clone() };
        assert_eq!(held_of(&held_column(&cursor)), Some(held));
        assert_eq!(held_of("{}"), Some(BTreeMap::new()));
        assert_eq!(held_of("[]"), None);
    }
}
