//! How an answer to a call inside the network ends, where the same over HTTP has a status.

/// The codes of gRPC that problems are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcCode {
    /// The call cannot be understood, or asks for what no state would allow.
    InvalidArgument,
    /// The time to wait is over.
    DeadlineExceeded,
    /// There is no such thing.
    NotFound,
    /// The buyer has it already.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A rate or a size is above its limit.
    ResourceExhausted,
    /// The state of the sale or of the order does not allow it, and a repeat changes nothing.
    FailedPrecondition,
    /// Something is under way: the same call, some time later, may succeed.
    Aborted,
    /// There is no such operation.
    Unimplemented,
    /// It cannot be done now; the same call may succeed in a moment.
    Unavailable,
    /// Nobody knows who asks.
    Unauthenticated,
}

impl RpcCode {
    /// The name of the code.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}
