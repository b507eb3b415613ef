//! The purchase decision: a straight column of refusals over memory. No I/O, no lock held across anything, and time is
//! an argument. [`Admission::purchase`] is the place to start reading.

mod archived_names;
mod attention;
mod board;
mod bucket;
mod buyer_map;
mod buyer_rates;
mod claims;
mod departures;
mod flight;
mod live_sale;
mod order_ids;
mod purchase;
mod queue;
mod stock;
mod sync;
mod tally;
mod ticket;
mod waiting_room;

pub use archived_names::ArchivedNames;
pub use board::{Board, Sales};
pub use bucket::{Pace, TokenBucket};
pub use buyer_rates::BuyerRates;
pub use claims::{ClaimGuard, ClaimRequest, Claims, OrderInFlight, PriorClaim};
pub use flight::Flight;
pub use live_sale::{LiveSale, SaleState};
pub use order_ids::OrderIds;
pub use purchase::{Accepted, Admission, Moment, NodeLimits, Placed, Purchase};
pub use queue::{Arrival, Intake, Place, Queue, QueuedOrder};
pub use stock::{Stock, TakenUnits};
pub use tally::{Tally, TallyCounts};
pub use ticket::{Resolution, Resolved, Ticket};
pub use waiting_room::{
    DrawKey, Knock, Ladder, Load, NotRegistered, PassKeys, PassText, Release, Releasing, RoomPlace,
    RoomRules, RoomState, Rooms, SalePass, Seen, WaitingRoom, drawing_seed, mixed_seed, priority_of,
    seed_commitment, who_is,
};
