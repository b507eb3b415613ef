//! Writes header blocks (RFC 7541), each field by itself: no table, so that a block is the same bytes whenever it is
//! sent.

use http2_wire::block::{write_known, write_numbered};

/// The number of `:status` with the value 200.
const STATUS_200: usize = 8;

/// Writes the status of an answer.
pub fn write_status(out: &mut Vec<u8>, status: u16) {
    let known = [200, 204, 206, 304, 400, 404, 500];
    match known.iter().position(|known| *known == status) {
        Some(place) => write_known(out, STATUS_200 + place),
        None => {
            let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
            write_numbered(out, STATUS_200, &digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use http2_wire::block::write_field;

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
