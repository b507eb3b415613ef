//! Reads header blocks (RFC 7541). Nothing is allocated for a field that a client repeats.

use super::field::{Field, Meaning};
use super::frame::Code;
use super::hpack_huffman::decode;
use super::hpack_static::FIELDS;
use super::hpack_table::Table;

/// Bytes that a client's table may have: what everybody has who is told nothing else.
const TABLE_BYTES_MAX: usize = 4_096;

/// Bytes of memory that are kept of each kind for what is decoded next: nearly everything has room in them, and a
/// connection that is silent holds them for as long.
pub const KEPT_BYTES_MAX: usize = 4_096;

/// The block cannot be read, and after it nothing can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unreadable;

impl From<Unreadable> for Code {
    fn from(_: Unreadable) -> Self {
        Self::Compression
    }
}

/// One connection's reader of header blocks.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    known: &'static [Field<'static>; FIELDS.len()],
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE_BYTES_MAX), known: known(), name: Vec::new(), value: Vec::new() }
    }
}

/// The fields that everybody knows by number.
fn known() -> &'static [Field<'static>; FIELDS.len()] {
    static KNOWN: std::sync::OnceLock<[Field<'static>; FIELDS.len()]> = std::sync::OnceLock::new();
    KNOWN.get_or_init(|| FIELDS.map(|(name, value)| Field::of(name.as_bytes(), value.as_bytes())))
}

/// A text in a block, as it stands there.
#[derive(Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    is_coded: bool,
}

impl<'a> Text<'a> {
    /// The text itself, with room for one that has to be decoded.
    fn plain<'b>(self, room: &'b mut Vec<u8>) -> Result<&'b [u8], Unreadable>
    where
        'a: 'b,
    {
        if !self.is_coded {
            return Ok(self.bytes);
        }
        room.clear();
        decode(self.bytes, room).map_err(|_| Unreadable)?;
        Ok(room)
    }
}

impl Decoder {
    /// Hands out the fields of a whole block, in order, as long as they are taken.
    ///
    /// # Errors
    /// The code with which the connection has to end, since no later block can be read either: that of `take`, or
    /// [`Code::Compression`].
    pub fn read(
        &mut self,
        mut block: &[u8],
        mut take: impl FnMut(Field<'_>) -> Result<(), Code>,
    ) -> Result<(), Code> {
        let mut has_fields = false;
        while let Some(first) = block.first().copied() {
            match first {
                0x80.. => take(self.field(integer(&mut block, 7)?)?)?,
                0x40..0x80 => self.literal(&mut block, 6, true, &mut take)?,
                // A table's size stands before all fields.
                0x20..0x40 if has_fields => return Err(Code::Compression),
                0x20..0x40 => {
                    let size = integer(&mut block, 5)?;
                    if size > TABLE_BYTES_MAX {
                        return Err(Code::Compression);
                    }
                    self.table.resize(size);
                    continue;
                }
                0..0x20 => self.literal(&mut block, 4, false, &mut take)?,
            }
            has_fields = true;
        }
        for room in [&mut self.name, &mut self.value] {
            room.clear();
            room.shrink_to(KEPT_BYTES_MAX);
        }
        Ok(())
    }

    /// A field that is spelled out, at least its value.
    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        is_kept: bool,
        take: &mut impl FnMut(Field<'_>) -> Result<(), Code>,
    ) -> Result<(), Code> {
        let number = integer(block, prefix)?;
        let mut kept_name = std::mem::take(&mut self.name);
        let mut kept_value = std::mem::take(&mut self.value);
        let (name, by_name) = match number {
            0 => {
                let name = text(block)?.plain(&mut kept_name)?;
                (name, Meaning::of(name))
            }
            // Copied: the field may have to make room for this one.
            _ => {
                let Field { name, by_name, .. } = self.field(number)?;
                kept_name.clear();
                kept_name.extend_from_slice(name);
                (&kept_name[..], by_name)
            }
        };
        let value = text(block)?.plain(&mut kept_value)?;
        let field = Field::with(name, by_name, value);
        if is_kept {
            self.table.add(field);
        }
        take(field)?;
        (self.name, self.value) = (kept_name, kept_value);
        Ok(())
    }

    /// The field with this number.
    fn field(&self, number: usize) -> Result<Field<'_>, Unreadable> {
        let place = number.checked_sub(1).ok_or(Unreadable)?;
        match self.known.get(place) {
            Some(field) => Ok(*field),
            None => self.table.get(place - FIELDS.len()).ok_or(Unreadable),
        }
    }

    /// What its table counts.
    #[cfg(test)]
    pub fn table_bytes(&self) -> usize {
        self.table.size()
    }
}

/// An integer whose first `prefix` bits stand in the block's first byte (5.1). Nothing here is ever larger than 28
/// bits.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Unreadable> {
    let most = (1 << prefix) - 1;
    let mut value = usize::from(next(block)?) & most;
    if value < most {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(next(block)?);
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unreadable)
}

fn text<'a>(block: &mut &'a [u8]) -> Result<Text<'a>, Unreadable> {
    let is_coded = block.first().ok_or(Unreadable)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Unreadable)?;
    *block = rest;
    Ok(Text { bytes, is_coded })
}

fn next(block: &mut &[u8]) -> Result<u8, Unreadable> {
    let (byte, rest) = block.split_first().ok_or(Unreadable)?;
    *block = rest;
    Ok(*byte)
}

#[cfg(test)]
mod tests;
