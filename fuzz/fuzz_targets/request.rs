//! Any bytes for route, bodies, framing and header fields. The same function runs, bounded, in `tests/http`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/http/read_anything.rs"]
mod read_anything;

fuzz_target!(|bytes: &[u8]| read_anything::read_anything(bytes));
