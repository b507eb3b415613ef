//! The lease protocol: what a node and the keeper of the books say to each other, and one node's half of it as a machine.
//!
//! [`Lessee`] says what may be said and what answers mean, [`SaleLease`] when to say what. Neither does anything itself:
//! time, memory and what was heard of the other nodes are arguments, what is to be done is a value. The agent runs them
//! against Redis and the store; the model checker runs [`Lessee`] against models of both.
//!
//! Never knows I/O, clocks, or anything of this crate but the domain.

mod backoff;
mod book;
mod detector;
mod drift;
mod effects;
mod errand;
mod lessee;
mod node_life;
mod own_share;
mod rules;
mod sale_lease;
mod withdrawing;

pub use backoff::Backoff;
pub use book::{Book, BookReply, Caller, Chunk, Movement, NodeAccount, Rebuild, ServerId, Verdict};
pub use detector::FailureDetector;
pub use drift::{Drift, MemoryView, agree, compare, compare_outside, left_behind, repairs, silent_holders};
pub use effects::{Act, Compared, Effects, Terms, View};
pub use errand::{Answer, Ask, Errand, Progress, Silent};
pub use lessee::{Lessee, Membership};
pub use node_life::NodeLife;
pub use rules::{Rule, Rules};
pub use sale_lease::SaleLease;
