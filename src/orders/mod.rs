//! Durable orders: the store that is the truth, the writer that feeds it in batches, the events it tells of.
//!
//! Never knows HTTP or Redis. [`OrderDesk`] is the handle that the rest of the engine has of it.

mod audit;
mod batched_lookup;
mod calendar_guard;
mod deadlines;
mod desk;
mod envelope;
mod event_json;
mod events;
mod graces;
mod history;
mod in_units;
mod lease_store;
mod log_watch;
mod node_figures;
mod order_search;
mod orders_of_buyer;
mod pipeline;
pub mod postgres;
mod read_cancellation;
mod recovery;
mod refund_record;
mod retirement;
mod rfc3339;
mod room_desk;
mod room_keeper;
mod room_log;
mod room_logging;
mod room_settings;
mod room_showing;
mod sale_change;
mod sale_steps;
mod sales_picture;
pub mod sqlite;
mod step;
mod store;
mod store_error;
mod trail;
mod transition;
mod untold_graces;
mod wanted_orders;
mod webhook_desk;
mod webhook_log;
mod writer;

pub use calendar_guard::guard_calendar;
pub use deadlines::Deadlines;
pub use desk::OrderDesk;
pub use envelope::{Envelope, EnvelopeHead};
pub use event_json::{event_id, event_json};
pub use events::{Event, EventKind};
pub use graces::{Grace, Graces, NOTICED_MS_MIN};
pub use history::{Outdated, StoreHistory, StoreMark};
pub use in_units::in_units;
pub use log_watch::{FoldedBy, LogFigures, LogWatch};
pub use node_figures::{OwnFigures, ToldFigures};
pub use pipeline::{Pipeline, PipelineParts};
pub use read_cancellation::ReadCancellation;
pub use recovery::Recovered;
pub use refund_record::{RefundRecord, RefundState};
pub use retirement::{Ending, Retirement, RetirementReceipt};
pub use rfc3339::rfc3339;
pub use room_keeper::move_marks;
pub use room_log::{RoomReader, RoomWriter};
pub use room_logging::log_registrations;
pub use room_settings::WaitingRoomSettings;
pub use room_showing::show_marks;
pub use sale_change::{ChangeReceipt, SaleChange, StopChange};
pub use sales_picture::SalesPicture;
pub use store::{
    Audit, Batch, CompleteOrders, DeadlineStep, DeadlineStepped, Fault, LeaseStore, LeftBook, OrderFilter,
    OrderVisitor, PoolFigures, Receipt, Record, RefusalReason, RefusedOrder, StartVisitor, StoreError,
    StoreReader, StoreWriter, TenantSales, WantedShare,
};
pub use trail::{Act, ActKind, Actor, SaleAct, TrailEntry, TrailFilter};
pub use transition::{Applied, Transition};
pub use wanted_orders::WantedOrders;
pub use webhook_log::{
    LogCursor, LogEnds, ToldLog, WebhookAct, WebhookChange, WebhookHealth, WebhookReader, WebhookRow,
    WebhookSave, WebhookState, WebhookStep, WebhookWriter,
};
pub use writer::{Commit, OrderWriter, StockNotice, WriterSettings, WriterWatch};
