//! Kinds of values that bodies of both planes have, as schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::states::{meaning, page_path};
use crate::domain::{OrderStatus, SaleKey};

/// A kind of value that has its schema where it is used, and is never made.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $schema
                }
            }
        )*
    };
}

shapes! {
    /// A time: RFC 3339, UTC, with milliseconds.
    Time = json_schema!({ "type": "string", "format": "date-time" });
    /// An order's number.
    OrderNumber = json_schema!({ "type": "string", "pattern": "^[0-7][0-9a-hjkmnp-tv-z]{12}$" });
    /// A tenant, a campaign or a SKU.
    Name = json_schema!({
        "type": "string",
        "pattern": "^[A-Za-z0-9._-]+$",
        "minLength": 1,
        "maxLength": SaleKey::PART_BYTES_MAX,
    });
    /// A whole number that is not negative: units, cents, seconds, a count.
    Count = json_schema!({ "type": "integer", "minimum": 0 });
}

/// The schema of one of these kinds, for a parameter.
pub fn shape<T: JsonSchema>() -> Value {
    T::json_schema(&mut SchemaGenerator::default()).to_value()
}

/// Where an order is in its life.
#[derive(Debug)]
pub enum Status {}

impl JsonSchema for Status {
    fn schema_name() -> Cow<'static, str> {
        "OrderStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = OrderStatus::ALL.map(OrderStatus::as_str);
        let mut about = "Where an order is in its life:\n".to_owned();
        for status in OrderStatus::ALL {
            about += &format!("- `{status}`: {}\n", meaning(status));
        }
        about += &format!("\nWhat leads from one to the other is drawn in the project's {}.", page_path());
        json_schema!({ "type": "string", "enum": names, "description": about })
    }
}

/// For bodies of which nothing has to be said: a member may be left out, and is `null` only where its type says so.
pub fn all_optional(schema: &mut Schema) {
    schema.remove("required");
}

/// Kinds of texts that are one of some words each: a name and the words.
macro_rules! word_lists {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl schemars::JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    schemars::json_schema!({ "type": "string", "enum": $words })
                }
            }
        )*
    };
}

pub(crate) use word_lists;
