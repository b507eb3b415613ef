//! Reads a JSON object field by field, so that every error names the field.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::problem::{Code, Problem};
use crate::domain::EpochMs;

/// The longest reason of an act, in characters.
const REASON_CHARS_MAX: usize = 500;

/// The fields of a body that have not been read yet.
pub(super) struct Fields(Map<String, Value>);

/// A field that may be absent, `null` or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// Not in the body.
    Absent,
    /// Given as `null`: none.
    Null,
    /// A value.
    Value(T),
}

impl<T> Given<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Nothing, or the value, which `null` takes away.
    pub fn cleared(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// The value; absent is what the caller says, and so is `null`.
    pub fn unwrap_or(self, absent: T) -> T {
        match self {
            Self::Value(value) => value,
            Self::Absent | Self::Null => absent,
        }
    }
}

impl Fields {
    /// The fields of a request's body.
    pub fn of_body(body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = "The body is larger than admin.body_bytes_max.";
                Problem::new(Code::BodyTooLarge, detail)
            }
            _ => Problem::malformed("The body did not arrive whole."),
        })?;
        Self::parse(&body)
    }

    /// The fields of these bytes.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Problem::malformed("The body must be a JSON object.")),
            Err(error) => Err(Problem::malformed(format!("The body is not JSON: {error}."))),
        }
    }

    /// A number without sign that fits `T`.
    pub fn number<T: TryFrom<u64>>(&mut self, field: &str) -> Result<Given<T>, Problem> {
        self.take(field, "must be a whole number that is not negative and not too large", |value| {
            u64::try_from(whole(value)?).ok().and_then(|number| T::try_from(number).ok())
        })
    }

    /// A number without sign, or a truth value in its place.
    pub fn number_or_flag(&mut self, field: &str) -> Result<Given<Result<u32, bool>>, Problem> {
        self.take(field, "must be true, false or a whole number that is not negative", |value| match value {
            Value::Bool(flag) => Some(Err(*flag)),
            other => u32::try_from(whole(other)?).ok().map(Ok),
        })
    }

    /// A number with or without sign.
    pub fn delta(&mut self, field: &str) -> Result<Given<i64>, Problem> {
        let rule = "must be a whole number that is not too large, such as 500 or -500";
        self.take(field, rule, |value| i64::try_from(whole(value)?).ok())
    }

    /// A text.
    pub fn text(&mut self, field: &str) -> Result<Given<String>, Problem> {
        self.take(field, "must be a text", |value| value.as_str().map(str::to_owned))
    }

    /// Why an operator acts: a text on one line, kept without the spaces around it. An empty one is none.
    pub fn reason(&mut self) -> Result<Given<String>, Problem> {
        let rule = format!("must be 1 to {REASON_CHARS_MAX} characters on one line");
        let reason = self.take("reason", &rule, |value| {
            let reason = value.as_str()?;
            let fits = reason.chars().count() <= REASON_CHARS_MAX && !reason.chars().any(char::is_control);
            fits.then(|| reason.trim().to_owned())
        })?;
        Ok(if reason == Given::Value(String::new()) { Given::Null } else { reason })
    }

    /// A truth value.
    pub fn flag(&mut self, field: &str) -> Result<Given<bool>, Problem> {
        self.take(field, "must be true or false", Value::as_bool)
    }

    /// An object. Its own fields are named with this one's name in front, such as `queue.mode`.
    pub fn object(&mut self, field: &str) -> Result<Given<Self>, Problem> {
        self.take(field, "must be an object", |value| {
            let named =
                value.as_object()?.iter().map(|(name, value)| (format!("{field}.{name}"), value.clone()));
            Some(Self(named.collect()))
        })
    }

    /// A time.
    pub fn time(&mut self, field: &str) -> Result<Given<EpochMs>, Problem> {
        self.take(field, "must be an RFC 3339 time such as 2030-01-31T12:00:00Z", |value| {
            let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
            Some(EpochMs(time.as_millisecond()))
        })
    }

    /// Ends the reading: whatever is left is no field.
    pub fn finish(self, known: &[&str]) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(field) => {
                Err(Problem::field(field, format!("is no field here; there are {}", known.join(", "))))
            }
        }
    }

    fn take<T>(
        &mut self,
        field: &str,
        rule: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Given<T>, Problem> {
        match self.0.remove(field) {
            None => Ok(Given::Absent),
            Some(Value::Null) => Ok(Given::Null),
            Some(value) => read(&value).map(Given::Value).ok_or_else(|| Problem::field(field, rule)),
        }
    }
}

/// A whole number, however JSON writes it: 5, 5.0 and 5e0 are the same to it. Of those with a fraction part only such as are
/// exact.
fn whole(value: &Value) -> Option<i128> {
    const EXACT_BELOW: f64 = (1_u64 << 53) as f64;
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < EXACT_BELOW)?;
    Some(number as i128)
}

/// The value of a field that has to be there.
pub(super) fn required<T>(field: &str, given: Given<T>) -> Result<T, Problem> {
    match given {
        Given::Value(value) => Ok(value),
        Given::Absent | Given::Null => Err(Problem::field(field, "is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_null_and_value_are_three_things() {
        let mut fields = Fields::parse(br#"{"a":7.0,"b":null,"t":"2030-01-31T13:00:00+01:00"}"#).unwrap();
        assert_eq!(fields.number::<u32>("a").unwrap(), Given::Value(7));
        assert_eq!(fields.number::<u32>("b").unwrap(), Given::Null);
        assert_eq!(fields.number::<u32>("c").unwrap(), Given::Absent);
        assert_eq!(fields.time("t").unwrap(), Given::Value(EpochMs(1_896_091_200_000)));
        assert!(fields.finish(&[]).is_ok());
    }

    #[test]
    fn values_of_another_type_are_refused() {
        let mut fields =
            Fields::parse(br#"{"a":-1,"b":1.5,"c":4294967296,"d":"x","e":1,"t":"today"}"#).unwrap();
        for field in ["a", "b", "c", "d"] {
            assert!(fields.number::<u32>(field).is_err(), "{field}");
        }
        assert!(fields.text("e").is_err());
        assert!(fields.time("t").is_err());
    }

    #[test]
    fn what_is_left_is_no_field() {
        let problem = Fields::parse(br#"{"stok":1}"#).unwrap().finish(&["stock"]).unwrap_err();
        assert!(problem.body("").contains("\"field\":\"stok\""));
    }

    #[test]
    fn only_objects_have_fields() {
        for body in ["", "[]", "1", "{", "null"] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
