//! Why the edge does not start.

use std::net::SocketAddr;

use crate::domain::FieldError;

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing, wrong or dangerous.
    #[error("edge.{} {}", .0.field, .0.problem)]
    Setting(FieldError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A serving thread cannot be started.
    #[error("cannot start a serving thread: {0}")]
    Thread(std::io::Error),
}
