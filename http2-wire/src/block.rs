//! What header blocks are made of (RFC 7541, 5 and 6), read and written. The tables are for others.

use super::fields::number_of;
use super::huffman;

/// The table's new size, at the beginning of a block: none.
pub const TABLE_OF_NOTHING: u8 = 0x20;

/// What each field of a table counts beside its bytes.
pub const ENTRY_BYTES: usize = 32;

/// What everybody's table may have who is told nothing else.
pub const TABLE_BYTES: usize = 4_096;

/// The block cannot be read, and after it nothing can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A text in a block, as it stands there.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    bytes: &'a [u8],
    is_coded: bool,
}

impl<'a> Text<'a> {
    /// The text itself, with room for one that has to be decoded.
    ///
    /// # Errors
    /// It is not in the code that it says.
    #[inline]
    pub fn plain<'b>(self, room: &'b mut Vec<u8>) -> Result<&'b [u8], Unreadable>
    where
        'a: 'b,
    {
        if !self.is_coded {
            return Ok(self.bytes);
        }
        room.clear();
        huffman::decode(self.bytes, room).map_err(|_| Unreadable)?;
        Ok(room)
    }
}

/// How a field is named.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// As the field with this number.
    Number(usize),
    /// By its letters.
    Text(Text<'a>),
}

/// What a block has next.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// The field with this number.
    Field(usize),
    /// A field that is spelled out, at least its value.
    Literal {
        /// Its name.
        name: Name<'a>,
        /// Its value.
        value: Text<'a>,
        /// Whether the table gets it.
        is_kept: bool,
    },
    /// The table's size from here on. It stands before all fields.
    TableBytes(usize),
}

impl<'a> Part<'a> {
    /// Takes the next part off a block that has one.
    ///
    /// # Errors
    /// It is none.
    #[inline]
    pub fn take(block: &mut &'a [u8]) -> Result<Self, Unreadable> {
        Ok(match *block.first().ok_or(Unreadable)? {
            0x80.. => Self::Field(integer(block, 7)?),
            0x40..0x80 => Self::literal(block, 6, true)?,
            0x20..0x40 => Self::TableBytes(integer(block, 5)?),
            0..0x20 => Self::literal(block, 4, false)?,
        })
    }

    #[inline]
    fn literal(block: &mut &'a [u8], prefix: u32, is_kept: bool) -> Result<Self, Unreadable> {
        let name = match integer(block, prefix)? {
            0 => Name::Text(text(block)?),
            number => Name::Number(number),
        };
        Ok(Self::Literal { name, value: text(block)?, is_kept })
    }
}

/// An integer whose first `prefix` bits stand in the block's first byte (5.1). Nothing here is ever larger than 28
/// bits.
#[inline]
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

#[inline]
fn text<'a>(block: &mut &'a [u8]) -> Result<Text<'a>, Unreadable> {
    let is_coded = block.first().ok_or(Unreadable)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Unreadable)?;
    *block = rest;
    Ok(Text { bytes, is_coded })
}

#[inline]
fn next(block: &mut &[u8]) -> Result<u8, Unreadable> {
    let (byte, rest) = block.split_first().ok_or(Unreadable)?;
    *block = rest;
    Ok(*byte)
}

/// Writes a field by its number.
#[inline]
pub fn write_known(out: &mut Vec<u8>, number: usize) {
    write_integer(out, 0x80, 7, number);
}

/// Writes a field that no table gets, its name by number.
#[inline]
pub fn write_numbered(out: &mut Vec<u8>, number: usize, value: &[u8]) {
    write_integer(out, 0, 4, number);
    write_text(out, value);
}

/// Writes a field that no table gets; its name is in small letters.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write_literal(out, 0, 4, name, value);
}

/// Writes a field that the reader's table gets; its name is in small letters.
pub fn write_kept(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write_literal(out, 0x40, 6, name, value);
}

fn write_literal(out: &mut Vec<u8>, first: u8, prefix: u32, name: &str, value: &[u8]) {
    match number_of(name) {
        Some(number) => write_integer(out, first, prefix, usize::from(number)),
        None => {
            out.push(first);
            write_text(out, name.as_bytes());
        }
    }
    write_text(out, value);
}

#[inline]
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// An integer with a prefix of so many bits, whose byte has `first` above them.
#[inline]
fn write_integer(out: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let most = (1 << prefix) - 1;
    let Some(mut rest) = value.checked_sub(most) else { return out.push(first | value as u8) };
    out.push(first | most as u8);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, C.1.
    #[test]
    fn integers_are_read_and_written() {
        for (bytes, prefix, value, left) in [
            (&[0x0a][..], 5, 10, 0),
            (&[0x1f, 0x9a, 0x0a], 5, 1337, 0),
            (&[0x2a], 8, 42, 0),
            (&[0x1f, 0x9a, 0x0a, 0xff], 5, 1337, 1),
        ] {
            let mut rest = bytes;
            assert_eq!((integer(&mut rest, prefix), rest.len()), (Ok(value), left), "{bytes:x?}");
            let mut out = Vec::new();
            write_integer(&mut out, 0, prefix, value);
            assert_eq!(out, bytes[..bytes.len() - left]);
        }
        for bytes in [
            &[0x1f][..],
            &[0x1f, 0x9a],
            &[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x1f, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert_eq!(integer(&mut &bytes[..], 5), Err(Unreadable), "{bytes:x?}");
        }
    }

    #[test]
    fn fields_are_read_as_they_were_written() {
        let mut out = vec![TABLE_OF_NOTHING];
        write_known(&mut out, 2);
        write_known(&mut out, 200);
        write_numbered(&mut out, 4, b"/a");
        write_field(&mut out, "x-a", b"b");
        write_kept(&mut out, "content-type", b"c");
        let mut block = &out[..];
        let mut told = Vec::new();
        let mut room = Vec::new();
        while !block.is_empty() {
            told.push(match Part::take(&mut block).unwrap() {
                Part::Field(number) => format!("field {number}"),
                Part::TableBytes(bytes) => format!("table {bytes}"),
                Part::Literal { name, value, is_kept } => {
                    let name = match name {
                        Name::Number(number) => number.to_string(),
                        Name::Text(text) => String::from_utf8_lossy(text.plain(&mut room).unwrap()).into(),
                    };
                    let value = String::from_utf8_lossy(value.plain(&mut room).unwrap());
                    format!("{name}={value} {is_kept}")
                }
            });
        }
        assert_eq!(told, ["table 0", "field 2", "field 200", "4=/a false", "x-a=b false", "31=c true"]);
        for wrong in [&[][..], &[0x40], &[0, 1], &[0, 1, b'a'], &[4, 2, b'/']] {
            assert!(Part::take(&mut &wrong[..]).is_err(), "{wrong:x?}");
        }
    }
}
