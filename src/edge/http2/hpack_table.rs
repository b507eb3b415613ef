//! The fields that one side has named before (RFC 7541, 2.3.2): the newest first, the oldest forgotten when there is
//! no room.

use std::collections::VecDeque;

use http2_wire::block::ENTRY_BYTES;

use super::field::{Field, Meaning};

/// The table. Its fields lie one behind the other in one piece of memory, which grows to what a table may have and
/// stays.
#[derive(Debug, Default)]
pub struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Bytes that have been cut from the front of `bytes` since the beginning.
    cut: usize,
    size: usize,
    size_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Counted from the first byte that was ever kept.
    start: usize,
    name_bytes: usize,
    value_bytes: usize,
    by_name: Meaning,
    meaning: Meaning,
}

impl Table {
    /// Empty.
    pub fn new(size_max: usize) -> Self {
        Self { size_max, ..Self::default() }
    }

    /// The field with this number, the newest being 0.
    pub fn get(&self, number: usize) -> Option<Field<'_>> {
        let entry = self.entries.get(number)?;
        let start = entry.start - self.cut;
        let (name, rest) = self.bytes[start..].split_at(entry.name_bytes);
        let Entry { by_name, meaning, .. } = *entry;
        Some(Field { name, value: &rest[..entry.value_bytes], by_name, meaning })
    }

    /// Changes how much it may hold.
    pub fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.make_room(0);
    }

    /// Adds a field. One that is larger than the table leaves it empty.
    pub fn add(&mut self, field: Field<'_>) {
        let Field { name, value, by_name, meaning } = field;
        let size = name.len() + value.len() + ENTRY_BYTES;
        self.make_room(size);
        if size > self.size_max {
            return;
        }
        let dead = self.entries.back().map_or(self.bytes.len(), |oldest| oldest.start - self.cut);
        if dead > 0 && self.bytes.len() + name.len() + value.len() > self.bytes.capacity() {
            self.bytes.drain(..dead);
            self.cut += dead;
        }
        let start = self.cut + self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        let (name_bytes, value_bytes) = (name.len(), value.len());
        self.entries.push_front(Entry { start, name_bytes, value_bytes, by_name, meaning });
        self.size += size;
    }

    /// Forgets the oldest until there is room for so much.
    fn make_room(&mut self, size: usize) {
        while self.size + size > self.size_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.name_bytes + oldest.value_bytes + ENTRY_BYTES;
        }
    }

    /// What its fields count together.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many fields it has.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: &str) -> Field<'_> {
        Field::of(b"x-a", value.as_bytes())
    }

    #[test]
    fn the_oldest_go_first_and_memory_stays() {
        let mut table = Table::new(400);
        for number in 0..10_000 {
            let value = format!("{number:05}");
            table.add(field(&value));
            assert_eq!(table.get(0).unwrap().value, value.as_bytes());
            assert!(table.size() <= 400);
        }
        // 40 each.
        assert_eq!(table.len(), 10);
        assert_eq!(table.get(9).unwrap().value, b"09990");
        assert!(table.get(10).is_none());
        assert!(table.bytes.capacity() <= 400, "{}", table.bytes.capacity());
    }

    #[test]
    fn what_is_too_large_empties_it() {
        let mut table = Table::new(100);
        table.add(field("a"));
        table.add(field(&"a".repeat(66)));
        assert_eq!((table.len(), table.size()), (0, 0));
        table.add(field(&"b".repeat(65)));
        assert_eq!((table.len(), table.size()), (1, 100));
        table.resize(99);
        assert_eq!((table.len(), table.size()), (0, 0));
        table.resize(0);
        table.add(field(""));
        assert_eq!(table.len(), 0);
    }
}
