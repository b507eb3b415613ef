//! Reads header blocks (RFC 7541). Nothing is allocated for a field that a client repeats.

use http2_wire::block::{Name, Part, TABLE_BYTES, Text, Unreadable};
use http2_wire::fields::FIELDS;
use http2_wire::frame::Code;

use super::field::{Field, Meaning};
use super::hpack_table::Table;

/// Bytes of memory that are kept of each kind for what is decoded next: nearly everything has room in them, and a
/// connection that is silent holds them for as long.
pub const KEPT_BYTES_MAX: usize = 4_096;

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
        Self { table: Table::new(TABLE_BYTES), known: known(), name: Vec::new(), value: Vec::new() }
    }
}

/// The fields that everybody knows by number.
fn known() -> &'static [Field<'static>; FIELDS.len()] {
    static KNOWN: std::sync::OnceLock<[Field<'static>; FIELDS.len()]> = std::sync::OnceLock::new();
    KNOWN.get_or_init(|| FIELDS.map(|(name, value)| Field::of(name.as_bytes(), value.as_bytes())))
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
        while !block.is_empty() {
            match Part::take(&mut block)? {
                Part::Field(number) => take(self.field(number)?)?,
                Part::Literal { name, value, is_kept } => self.literal(name, value, is_kept, &mut take)?,
                Part::TableBytes(bytes) if has_fields || bytes > TABLE_BYTES => {
                    return Err(Code::Compression);
                }
                Part::TableBytes(bytes) => {
                    self.table.resize(bytes);
                    continue;
                }
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
        name: Name<'_>,
        value: Text<'_>,
        is_kept: bool,
        take: &mut impl FnMut(Field<'_>) -> Result<(), Code>,
    ) -> Result<(), Code> {
        let mut kept_name = std::mem::take(&mut self.name);
        let mut kept_value = std::mem::take(&mut self.value);
        let (name, by_name) = match name {
            Name::Text(name) => {
                let name = name.plain(&mut kept_name)?;
                (name, Meaning::of(name))
            }
            // Copied: the field may have to make room for this one.
            Name::Number(number) => {
                let Field { name, by_name, .. } = self.field(number)?;
                kept_name.clear();
                kept_name.extend_from_slice(name);
                (&kept_name[..], by_name)
            }
        };
        let value = value.plain(&mut kept_value)?;
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

#[cfg(test)]
mod tests;
