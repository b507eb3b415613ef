//! The waiting room in memory: passes that are checked for the price of a hash, and the marks that say who is admitted.
//! Of who waits nothing is kept: a buyer's place follows from the pass, the seed and the marks.

mod checking;
mod load;
mod pass;
mod place;
mod recent_places;
mod registering;
mod release;
mod room;
mod rooms;

pub use load::Load;
pub use pass::{PassKeys, PassText, SalePass};
pub use place::{DrawKey, drawing_seed, mixed_seed, priority_of, seed_commitment, who_is};
pub use registering::{Knock, NotRegistered, RoomPlace};
pub use release::{Ladder, Release, Releasing, Seen};
pub use room::{RoomState, WaitingRoom};
pub use rooms::{RoomRules, Rooms};
