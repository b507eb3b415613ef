//! A rule that a field breaks.

/// A field that breaks its rule, named as in the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The JSON field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}
