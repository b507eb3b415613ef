//! Frames, written behind what is in a buffer already.

use super::frame::{Code, FrameHead, HEAD_BYTES, flag, kind};

/// A frame with this payload.
pub fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    FrameHead { length: payload.len(), kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

/// RST_STREAM.
pub fn reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    frame(out, kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
}

/// GOAWAY.
pub fn go_away(out: &mut Vec<u8>, last: u32, code: Code) {
    let [last, code] = [last, code as u32].map(u32::to_be_bytes);
    frame(out, kind::GOAWAY, 0, 0, &[last, code].concat());
}

/// WINDOW_UPDATE.
pub fn window_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    frame(out, kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

/// HEADERS with the block that `write` appends, and CONTINUATION where it is longer than a frame may be.
#[inline]
pub fn headers(
    out: &mut Vec<u8>,
    stream: u32,
    is_end: bool,
    frame_bytes_max: usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write(out);
    let end = if is_end { flag::END_STREAM } else { 0 };
    let block = start + HEAD_BYTES;
    let length = out.len() - block;
    let head = |kind, flags, length| FrameHead { length, kind, flags, stream }.bytes();
    if length <= frame_bytes_max {
        let head = head(kind::HEADERS, flag::END_HEADERS | end, length);
        out[start..block].copy_from_slice(&head);
        return;
    }
    let long = out.split_off(block);
    out.truncate(start);
    let (mut kind, mut flags) = (kind::HEADERS, end);
    let mut pieces = long.chunks(frame_bytes_max).peekable();
    while let Some(piece) = pieces.next() {
        flags |= if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        out.extend_from_slice(&head(kind, flags, piece.len()));
        out.extend_from_slice(piece);
        (kind, flags) = (kind::CONTINUATION, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_block_goes_on_in_other_frames() {
        let mut out = Vec::new();
        headers(&mut out, 1, true, 16_384, |out| out.extend_from_slice(&[7; 16_384]));
        headers(&mut out, 3, true, 16_384, |out| out.extend_from_slice(&[7; 40_000]));
        let mut frames = Vec::new();
        let mut rest = &out[..];
        while let Some(head) = FrameHead::read(rest) {
            frames.push((head.kind, head.flags, head.length));
            rest = &rest[HEAD_BYTES + head.length..];
        }
        assert_eq!(frames, [(1, 5, 16_384), (1, 1, 16_384), (9, 0, 16_384), (9, 4, 7_232)]);
    }
}
