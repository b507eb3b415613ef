//! Writes header blocks (RFC 7541), each field by itself: no table, so that a block is the same bytes whenever it is
//! sent.

use super::hpack_static::number_of;

/// The table's new size, at the beginning of a block: none.
pub const TABLE_OF_NOTHING: u8 = 0x20;

/// The number of `:status` with the value 200.
const STATUS_200: u8 = 8;

/// Writes the status of an answer.
pub fn write_status(out: &mut Vec<u8>, status: u16) {
    let known = [200, 204, 206, 304, 400, 404, 500];
    match known.iter().position(|known| *known == status) {
        Some(place) => out.push(0x80 | (STATUS_200 + place as u8)),
        None => {
            let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
            out.push(STATUS_200);
            write_text(out, &digits);
        }
    }
}

/// Writes a field; its name is in small letters.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    match number_of(name) {
        Some(number) => write_numbered(out, number, value),
        None => {
            out.push(0);
            write_text(out, name.as_bytes());
            write_text(out, value);
        }
    }
}

/// The same for a field whose name has a number.
pub fn write_numbered(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    write_integer(out, 0, 4, usize::from(number));
    write_text(out, value);
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// An integer with a prefix of so many bits, whose byte has `first` above them.
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
    use super::super::hpack_decoder::Decoder;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        for status in [200, 204, 409, 500] {
            write_status(&mut out, status);
        }
        let long = "v".repeat(20_000);
        let fields =
            [("content-length", "12"), ("x-a", ""), ("retry-after", "1"), ("location", long.as_str())];
        for (name, value) in fields {
            write_field(&mut out, name, value.as_bytes());
        }
        let mut read = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let outcome = Decoder::default().read(&out, |field| {
            read.push((text(field.name), text(field.value)));
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
        let statuses = ["200", "204", "409", "500"].map(|status| (":status", status));
        let written = statuses.into_iter().chain(fields);
        assert_eq!(read, written.map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>());
    }
}
