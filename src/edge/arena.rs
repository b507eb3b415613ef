//! Where answers are written: a page of memory a thread, of which each answer takes a part. When all of a page's parts
//! have been sent, the page is used again; so answers that are sent at once allocate nothing.

use std::cell::RefCell;
use std::fmt::{self, Write};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

/// A page: some dozen refusals. A client that does not read an answer keeps its page from being used again.
const PAGE_BYTES: usize = 16 * 1024;

thread_local! {
    /// Always empty: its capacity is what is left.
    static PAGE: RefCell<BytesMut> = RefCell::default();
}

/// An empty buffer with room for so many bytes. It grows beyond them, but then it allocates.
pub(super) fn room(bytes: usize) -> BytesMut {
    if bytes > PAGE_BYTES {
        return BytesMut::with_capacity(bytes);
    }
    PAGE.with_borrow_mut(|page| {
        if page.capacity() < bytes {
            // The page itself, if nobody holds a part of it any more.
            page.reserve(PAGE_BYTES);
        }
        let rest = page.split_off(bytes);
        std::mem::replace(page, rest)
    })
}

/// These bytes.
pub(super) fn copied(bytes: &[u8]) -> Bytes {
    let mut copy = room(bytes.len());
    copy.extend_from_slice(bytes);
    copy.freeze()
}

/// The value of a header field: digits and words of our own, at most `bytes` long.
///
/// # Panics
/// It has characters that no field may have.
pub(super) fn text(bytes: usize, text: fmt::Arguments<'_>) -> HeaderValue {
    let mut written = room(bytes);
    let _ = written.write_fmt(text);
    HeaderValue::from_maybe_shared(written.freeze()).expect("made of digits and our own words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_used_again_when_its_parts_are_gone() {
        let page_of = |bytes: &Bytes| bytes.as_ptr() as usize;
        let first = copied(&[1; 4_000]);
        let start = page_of(&first);
        let inside = |bytes: &Bytes| (start..start + PAGE_BYTES).contains(&page_of(bytes));
        assert!(inside(&copied(&[2; 4_000])));
        // One part is held: what does not fit any more is written elsewhere.
        assert!(!inside(&copied(&[3; 9_000])));
        assert_eq!(first, [1; 4_000][..]);
        drop(first);
        let again = page_of(&copied(&[4; 16_000]));
        for _ in 0..10 {
            assert_eq!(page_of(&copied(&[5; 16_000])), again);
        }
    }

    #[test]
    fn what_needs_more_than_was_asked_for_grows_and_disturbs_nobody() {
        let mut small = room(4);
        let beside = copied(b"beside");
        small.extend_from_slice(&[7; 100]);
        assert_eq!((small.len(), &beside[..]), (100, &b"beside"[..]));
        assert_eq!(copied(&[8; 20_000]).len(), 20_000);
    }
}
