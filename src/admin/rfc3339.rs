//! Times as the API writes them: as events do.

pub(super) use crate::orders::rfc3339;
