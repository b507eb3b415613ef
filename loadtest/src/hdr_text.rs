//! Histograms as text: compressed in the standard form (V2, deflate) and in base64, as interval logs hold them.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Unpacker, Serializer as _, V2DeflateSerializer};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, ser};

/// The text of a histogram.
///
/// # Errors
/// It is too large for the form.
pub fn pack(values: &Histogram<u64>) -> io::Result<String> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(values, &mut bytes).map_err(io::Error::other)?;
    Ok(STANDARD.encode(bytes))
}

/// The histogram of a text.
///
/// # Errors
/// The text is none of [`pack`].
pub fn unpack(text: &str) -> io::Result<Histogram<u64>> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let bytes = STANDARD.decode(text).map_err(|error| damaged(error.to_string()))?;
    Unpacker::new().deserialize(&mut bytes.as_slice()).map_err(|error| damaged(error.to_string()))
}

/// A field that is a histogram, for `#[serde(with = "hdr_text")]`.
///
/// # Errors
/// See [`pack`].
pub fn serialize<S: Serializer>(values: &Histogram<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    pack(values).map_err(ser::Error::custom)?.serialize(serializer)
}

/// The same, read.
///
/// # Errors
/// See [`unpack`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Histogram<u64>, D::Error> {
    unpack(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
