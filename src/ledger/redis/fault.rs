//! Why Redis did not do what it was asked.

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisFault {
    /// Redis does not answer. What was sent may have been carried out, or may be later.
    #[error("redis does not answer ({0}); what was sent may have been carried out")]
    Away(String),
    /// Redis answers, and does not let this engine: a password, a right, a command or a certificate is missing.
    #[error("redis refuses: {0}")]
    Refused(String),
    /// Redis answers, and cannot: memory, a disk or a replica is missing, or it is no master. It may pass.
    #[error("redis refuses: {0}")]
    Unable(String),
    /// Redis answered with something that a sound server does not say.
    #[error("redis answered what the ledger does not understand: {0}")]
    Strange(String),
    /// The address cannot be used.
    #[error("redis.url: {0}")]
    Address(String),
    /// A file of the settings cannot be read.
    #[error("{0}")]
    Files(String),
}
