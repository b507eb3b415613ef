//! Who asks: the name and the role that go with a request.

/// Who may ask, as the check of the request has found.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The name that goes with the token.
    pub name: &'static str,
    /// What the caller may do.
    pub role: &'static str,
}

impl Caller {
    /// Whoever can reach the loopback address of an engine without a token.
    pub const LOCAL: Self = Self { name: "local", role: "admin" };
    /// Who has the token `admin.token`.
    pub const ADMIN: Self = Self { name: "admin", role: "admin" };
}
