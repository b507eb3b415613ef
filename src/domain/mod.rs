//! The words of a flash sale: sales, orders, buyers, units, money, and why a purchase is refused.
//!
//! Standard library only. Nothing here knows of atomics, clocks, serialisation or I/O: time is an argument
//! ([`EpochMs`]), a refusal is a value ([`Rejection`]), and the order's life is a table ([`OrderStatus::after`]).

mod beacon;
mod field_error;
mod identity;
mod known_node;
mod money;
mod order;
mod order_refund;
mod payment;
mod refund;
mod rejection;
mod sale;
mod sale_edit;
mod sale_units;
mod span_context;
mod stops;
mod time;
mod waiting_room;

pub use beacon::{BeaconSource, BeaconState, BeaconTerms, BeaconValue, DrawMix};
pub use field_error::FieldError;
pub use identity::{
    BuyerId, BuyerName, IdempotencyKey, InvalidId, KeyName, NodeId, OrderId, SaleId, SaleKey, StoreIdentity,
};
pub use known_node::KnownNode;
pub use money::{Cents, Currency};
pub use order::{IllegalTransition, NewOrder, Offer, Order, OrderAction, OrderStatus};
pub use payment::{PaymentDirection, PaymentJournal, PaymentKeyForm, PaymentNote};
pub use refund::{REFUNDS_MAX, RefundEnd, RefundRefusal, RefundRequest, RefundStep, Refunds, Restock};
pub use rejection::{RateScope, Refusal, Rejection};
pub use sale::{Rate, Sale, SaleLimits, SalePhase, SaleTerms, Units};
pub use sale_edit::{SaleEdit, StockEdit};
pub use sale_units::{SaleUnits, Share};
pub use span_context::SpanContext;
pub use stops::Stops;
pub use time::{EpochMs, Nanos};
pub use waiting_room::{
    Registration, RoomEdit, RoomFailure, RoomMarks, RoomMode, RoomMove, RoomRefusal, RoomSeed, RoomTerms, Who,
};
