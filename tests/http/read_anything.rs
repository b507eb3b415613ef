//! Everything of the edge that reads bytes from outside, in one function. Shared with the fuzz target.

use seckill::edge::{CheckoutBody, Framing, Head, PurchaseBody, RequestId, Route};

/// Nothing here may panic, whatever the bytes. A request id and a path must stay what they are checked to be.
pub fn read_anything(bytes: &[u8]) {
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
        assert!(RequestId::of(head.request_id).as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        let _ = head.check(true);
    }
}
