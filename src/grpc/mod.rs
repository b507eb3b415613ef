//! gRPC for callers inside the network: a shop's own services that buy, look up, pay and follow what happens.
//!
//! A call is the edge's own request in other clothes (`asking.rs`): the same handlers decide it, by the same
//! identities, rates and limits, and what they answer is told in other words (`told.rs`, `status.rs`). So nothing is
//! decided here, and no rule stands in two places. What is this room's own: the connections ([`GrpcServer`]), deadlines
//! (`arrival.rs`), and followers of events (`events.rs`). `GRPC.md` beside this file is for who calls.

mod arrival;
mod asking;
mod calls;
mod events;
mod proto;
mod server;
mod settings;
mod stage;
mod status;
mod told;

pub use server::{GrpcParts, GrpcServer, GrpcStartError};
pub use settings::GrpcSettings;
