//! Why Redis did not do what it was asked.

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisFault {
    /// Redis does not answer. What was sent may have been carried out, or may be later.
    #[error("redis does not answer ({0}); what was sent may have been carried out")]
    Away(String),
    /// Redis answers, and does not do it: a password, a right, a certificate, memory or a disk is missing.
    #[error("redis refuses: {0}")]
    Refused(String),
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
