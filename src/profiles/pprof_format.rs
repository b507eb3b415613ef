//! A profile as pprof's tools read it (`perftools.profiles.Profile`, compressed by gzip). Fields have the numbers of that
//! definition; those that the engine does not tell are left out.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// A function where a stack was, and the line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Its name, for people.
    pub function: String,
    /// Its name, for the linker.
    pub symbol: String,
    /// Its file.
    pub file: String,
    /// The line in it; 0 if that is not known.
    pub line: u32,
}

/// When a profile was taken, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// When it began, in ns since 1970.
    pub at_ns: i64,
    /// How long it took, in ns.
    pub took_ns: i64,
    /// The processor time that one sample stands for, in ns.
    pub period_ns: i64,
}

/// A profile of processor time that is being put together.
#[derive(Debug, Default)]
pub(super) struct CpuProfileText {
    profile: Profile,
    texts: HashMap<String, i64>,
    places: HashMap<Place, u64>,
    functions: HashMap<(String, String), u64>,
}

impl CpuProfileText {
    /// One without samples.
    pub fn new(taken: Taken) -> Self {
        let mut text = Self::default();
        // The first text of the table is the empty one.
        text.text("");
        let samples = ValueType { kind: text.text("samples"), unit: text.text("count") };
        let time = ValueType { kind: text.text("cpu"), unit: text.text("nanoseconds") };
        text.profile.sample_type = vec![samples, time];
        text.profile.period_type = Some(time);
        text.profile.period = taken.period_ns;
        text.profile.time_nanos = taken.at_ns;
        text.profile.duration_nanos = taken.took_ns;
        text
    }

    /// Adds a stack, the innermost function first, that was met so often on this thread.
    pub fn add(&mut self, thread: &str, stack: impl IntoIterator<Item = Place>, count: i64) {
        let location_id = stack.into_iter().map(|place| self.location(place)).collect();
        let label = vec![Label { key: self.text("thread"), text: self.text(thread) }];
        let value = vec![count, count.saturating_mul(self.profile.period)];
        self.profile.sample.push(Sample { location_id, value, label });
    }

    /// The file.
    ///
    /// # Errors
    /// None that is known of: it is written into memory.
    pub fn into_gzip(self) -> io::Result<Vec<u8>> {
        let mut file = GzEncoder::new(Vec::new(), Compression::fast());
        file.write_all(&self.profile.encode_to_vec())?;
        file.finish()
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let place = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), place);
        place
    }

    fn location(&mut self, place: Place) -> u64 {
        if let Some(known) = self.places.get(&place) {
            return *known;
        }
        let function_id = self.function(&place);
        let id = self.profile.location.len() as u64 + 1;
        let line = vec![Line { function_id, line: place.line.into() }];
        self.profile.location.push(Location { id, line });
        self.places.insert(place, id);
        id
    }

    fn function(&mut self, place: &Place) -> u64 {
        let key = (place.symbol.clone(), place.file.clone());
        if let Some(known) = self.functions.get(&key) {
            return *known;
        }
        let id = self.profile.function.len() as u64 + 1;
        let function = Function {
            id,
            name: self.text(&place.function),
            system_name: self.text(&place.symbol),
            filename: self.text(&place.file),
        };
        self.profile.function.push(function);
        self.functions.insert(key, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn places_and_functions_are_told_once_and_samples_point_at_them() {
        let place = |name: &str, line| Place {
            function: name.into(),
            symbol: format!("_{name}"),
            file: "a.rs".into(),
            line,
        };
        let mut text = CpuProfileText::new(Taken { at_ns: 5, took_ns: 7, period_ns: 10 });
        text.add("edge-0", [place("inner", 3), place("outer", 9)], 2);
        text.add("writer", [place("inner", 4), place("outer", 9)], 1);
        let mut bytes = Vec::new();
        GzDecoder::new(&text.into_gzip().unwrap()[..]).read_to_end(&mut bytes).unwrap();
        let profile = Profile::decode(&bytes[..]).unwrap();
        assert_eq!((profile.location.len(), profile.function.len()), (3, 2));
        let stacks: Vec<_> = profile.sample.iter().map(|sample| &sample.location_id[..]).collect();
        assert_eq!(stacks, [&[1, 2][..], &[3, 2]]);
        assert_eq!(profile.sample[0].value, [2, 20]);
        let told = |text: i64| profile.string_table[text as usize].as_str();
        assert_eq!(told(0), "");
        let types = profile.sample_type.iter().map(|kind| (told(kind.kind), told(kind.unit)));
        assert_eq!(types.collect::<Vec<_>>(), [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(told(profile.sample[1].label[0].text), "writer");
        assert_eq!(told(profile.function[0].name), "inner");
    }
}
