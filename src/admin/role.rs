//! What a caller may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What goes with a token. Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Runs campaigns: makes, changes, pauses and ends them, and acts on orders.
    Operator,
    /// Also what cannot be taken back, and the configuration.
    Admin,
}

impl Role {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}
