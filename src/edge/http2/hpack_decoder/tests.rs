//! The examples of RFC 7541, appendix C, and blocks of any bytes.

use proptest::prelude::*;

use super::*;

type Fields = Vec<(String, String)>;
/// In hexadecimal digits, with its fields and the table's size behind it.
type Block<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Code> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.read(block, |field| {
        assert_eq!(field, Field::of(field.name, field.value));
        fields.push((text(field.name), text(field.value)));
        Ok(())
    })?;
    Ok(fields)
}

/// Blocks one after the other.
fn assert_reads(blocks: &[Block<'_>]) {
    let mut decoder = Decoder::default();
    for (hex, fields, table_bytes) in blocks {
        let told = read(&mut decoder, &bytes(hex)).unwrap();
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(&told[..], *fields, "{hex}");
        assert_eq!(decoder.table_bytes(), *table_bytes, "{hex}");
    }
}

#[test]
fn c2_each_kind_of_field() {
    assert_reads(&[(
        "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
        &[("custom-key", "custom-header")],
        55,
    )]);
    assert_reads(&[("040c2f73616d706c652f70617468", &[(":path", "/sample/path")], 0)]);
    assert_reads(&[("100870617373776f726406736563726574", &[("password", "secret")], 0)]);
    assert_reads(&[("82", &[(":method", "GET")], 0)]);
}

const FIRST: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const SECOND: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const THIRD: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

#[test]
fn c3_requests_in_plain_text() {
    assert_reads(&[
        ("828684410f7777772e6578616d706c652e636f6d", FIRST, 57),
        ("828684be58086e6f2d6361636865", SECOND, 110),
        ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", THIRD, 164),
    ]);
}

#[test]
fn c4_requests_in_the_code() {
    assert_reads(&[
        ("828684418cf1e3c2e5f23a6ba0ab90f4ff", FIRST, 57),
        ("828684be5886a8eb10649cbf", SECOND, 110),
        ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", THIRD, 164),
    ]);
}

/// The answers of C.6, in a table of 256 bytes, where each drives out an older one.
#[test]
fn c6_fields_that_make_room() {
    let answer = |status: &'static str, date: &'static str| {
        vec![
            (":status", status),
            ("cache-control", "private"),
            ("date", date),
            ("location", "https://www.example.com"),
        ]
    };
    let mut third = answer("200", "Mon, 21 Oct 2013 20:13:22 GMT");
    third.push(("content-encoding", "gzip"));
    third.push(("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"));
    assert_reads(&[
        ("3fe101", &[], 0),
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            &answer("302", "Mon, 21 Oct 2013 20:13:21 GMT")[..],
            222,
        ),
        ("4883640effc1c0bf", &answer("307", "Mon, 21 Oct 2013 20:13:21 GMT")[..], 222),
        (
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            &third[..],
            215,
        ),
    ]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    for hex in [
        "80",
        "be",
        "ff80808080",
        "3fe21f",
        "8220",
        "0005 61",
        "00",
        "41",
        "0084ffffffff00",
        "0085 1f1f1f1f1f",
    ] {
        assert_eq!(read(&mut Decoder::default(), &bytes(hex)), Err(Code::Compression), "{hex}");
    }
    assert_eq!(read(&mut Decoder::default(), &bytes("3fe11f20 82")).map(|fields| fields.len()), Ok(1));
}

/// A name that a field may not have, one that may have few values, and one that may have any; each kept with a value that
/// the name may not have, and named again with one that it may.
#[test]
fn a_name_that_is_repeated_by_number_says_the_same() {
    let mut decoder = Decoder::default();
    for name in ["X-a", "te", "x-a"] {
        let kept = [&[0x40, name.len() as u8][..], name.as_bytes(), b"\x02b\n"].concat();
        read(&mut decoder, &kept).unwrap();
        let again = [&[0x7e, 8][..], b"trailers"].concat();
        assert_eq!(read(&mut decoder, &again), Ok(vec![(name.to_owned(), "trailers".to_owned())]));
    }
}

#[test]
fn the_memory_of_a_long_text_is_not_kept() {
    let mut decoder = Decoder::default();
    // Five thousand bytes of the code's shortest symbol, as a name and as a value.
    let coded: Vec<u8> = [&[0xff, 0x89, 0x26][..], &[0; 5_000]].concat();
    let block = [&[0u8][..], &coded, &coded].concat();
    let zeros = "0".repeat(8_000);
    assert_eq!(read(&mut decoder, &block), Ok(vec![(zeros.clone(), zeros)]));
    assert!(decoder.name.capacity() <= KEPT_BYTES_MAX, "{}", decoder.name.capacity());
    assert!(decoder.value.capacity() <= KEPT_BYTES_MAX, "{}", decoder.value.capacity());
}

#[test]
fn nothing_is_read_behind_a_field_that_is_not_taken() {
    let mut taken = 0;
    let outcome = Decoder::default().read(&bytes("82 84 86 80"), |_| {
        taken += 1;
        if taken < 2 { Ok(()) } else { Err(Code::EnhanceYourCalm) }
    });
    assert_eq!((outcome, taken), (Err(Code::EnhanceYourCalm), 2));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..20)
    ) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _ = read(&mut decoder, &block);
            prop_assert!(decoder.table_bytes() <= TABLE_BYTES);
        }
    }
}
