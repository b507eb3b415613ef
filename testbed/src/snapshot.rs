//! What a snapshot of the live feed tells.

use serde_json::Value;

/// The sale `{sku}`.
///
/// # Panics
/// It is not shown.
#[track_caller]
pub fn sale<'a>(snapshot: &'a Value, sku: &str) -> &'a Value {
    snapshot["sales"].as_array().unwrap().iter().find(|sale| sale["sku"] == sku).expect("the sale is shown")
}

/// What is said of something that selling stands on.
///
/// # Panics
/// Nothing is.
#[track_caller]
pub fn said<'a>(snapshot: &'a Value, name: &str) -> &'a str {
    let dependencies = snapshot["dependencies"].as_array().unwrap();
    let named = dependencies.iter().find(|dependency| dependency["name"] == name).expect("it is told of");
    named["said"].as_str().unwrap()
}
