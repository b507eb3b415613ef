//! The bounded form of the fuzz target `request`: any bytes for route, bodies, framing and header fields.

use proptest::prelude::*;

use super::read_anything::read_anything;

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
