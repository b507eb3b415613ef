//! The bounded form of the fuzz target `request`: any bytes for route, bodies, framing and header fields.

use proptest::prelude::*;
use seckill::edge::{CheckoutBody, Framing, Head, PurchaseBody, RequestId, Route};

/// Nothing here may panic, whatever the bytes. The fuzz target calls the same.
fn read_anything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for method in ["GET", "POST", "DELETE", &text] {
        let _ = Route::find(method, &text);
    }
    let _ = PurchaseBody::parse(bytes);
    let _ = CheckoutBody::parse(bytes);
    let (name, value) = bytes.split_at(bytes.len() / 2);
    let name = String::from_utf8_lossy(name);
    let names = ["content-length", "connection", "transfer-encoding", "x-request-id", "x-user-id", &name];
    for name in names {
        let _ = Framing::of([(name, value)].into_iter(), false, 16_384);
        let head = Head::read([(name, value)].into_iter());
        assert!(RequestId::of(&head).as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        let _ = head.check(true);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_anything(&bytes);
    }

    #[test]
    fn anything_that_looks_like_a_request_is_read_without_a_panic(
        text in "(/(seckill|orders)?[/a-z0-9.%_-]{0,40})|(\\{\"(quantity|payment_method)\": ?[-0-9.eE\"a-z]{0,20}\\}?)"
    ) {
        read_anything(text.as_bytes());
    }
}
