//! What a plane answers, described for machines (OpenAPI 3.1) and for people: operations, bodies, problems, states.
//!
//! An [`Operation`] stands beside the route that it describes: on the admin plane the route is made of it, on the data
//! plane each route names its own. [`Description::document`] compiles them into the bytes of `GET /openapi.json`, once,
//! when the engine starts. A [`ProblemKind`] says what a code means and what helps; `GET /problems/{code}`, where the
//! `type` of a problem leads, shows it as a [page](page_of).

mod bodies;
mod document;
mod operation;
pub mod parts;
mod problem;
mod roles;
mod shapes;
mod states;

pub use bodies::{Order, ProblemHead};
pub use document::{Description, Document, fingerprint};
pub use operation::{Access, Answer, Content, Items, Method, Operation, Parameter};
pub use problem::{ProblemKind, page_of, page_of_all, title_of};
pub use roles::roles_table;
pub(crate) use shapes::word_lists;
pub use shapes::{Count, Name, OrderNumber, Status, Time, all_optional, shape};
pub use states::{diagram, meaning};
