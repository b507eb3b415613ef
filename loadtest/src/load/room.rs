//! A visitor in the waiting room of a sale: knows its own pass, reads the public document, and concludes from the two alone
//! whether it is its turn.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;

use crate::wire::response::json_text;

/// Bits of a priority.
const PRIORITY_BITS: u32 = 53;

/// What a visitor keeps of its registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPass {
    /// As it is sent.
    pub text: Box<str>,
    joined_ms: i64,
    who: [u8; 16],
}

/// What the document says to somebody with a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is the visitor's turn.
    Now,
    /// Not yet.
    Later,
    /// Nothing is left.
    SoldOut,
    /// It will not come.
    Never,
}

/// What of the document is looked at.
#[derive(Deserialize)]
struct Document<'a> {
    state: &'a str,
    draw_mark: u64,
    fifo_mark: Option<&'a str>,
    drawn_at: Option<&'a str>,
    seed: Option<&'a str>,
    beacon: Option<Beacon<'a>>,
}

/// What the seed is mixed with, where a beacon was named.
#[derive(Deserialize)]
struct Beacon<'a> {
    /// What the draw is made with.
    seed: Option<&'a str>,
}

impl RoomPass {
    /// The pass in the answer to a registration.
    pub fn of(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(json_text(body, "pass")).ok()?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self {
            joined_ms: i64::from_be_bytes(bytes.get(5..13)?.try_into().ok()?),
            who: bytes.get(25..41)?.try_into().ok()?,
            text: text.into(),
        })
    }

    /// Whether it is its turn, as the document says.
    pub fn turn(&self, document: &[u8]) -> Option<Turn> {
        let document: Document<'_> = serde_json::from_slice(document).ok()?;
        Some(match document.state {
            "sold_out" => Turn::SoldOut,
            "ended" => Turn::Never,
            "open" if self.is_admitted(&document)? => Turn::Now,
            _ => Turn::Later,
        })
    }

    fn is_admitted(&self, document: &Document<'_>) -> Option<bool> {
        if self.joined_before(document.fifo_mark)? {
            return Some(true);
        }
        let seed = document.beacon.as_ref().map_or(document.seed, |beacon| beacon.seed);
        let is_drawn = self.joined_before(document.drawn_at)?;
        let Some(seed) = seed.filter(|_| is_drawn) else { return Some(false) };
        Some(priority(&unhex(seed)?, &self.who) < document.draw_mark)
    }

    /// Whether it joined before `at`, where the document names a time.
    fn joined_before(&self, at: Option<&str>) -> Option<bool> {
        let Some(at) = at else { return Some(false) };
        Some(self.joined_ms < at.parse::<jiff::Timestamp>().ok()?.as_millisecond())
    }
}

fn priority(seed: &[u8], who: &[u8]) -> u64 {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), who);
    let first = tag.as_ref().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
    first >> (u64::BITS - PRIORITY_BITS)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(joined_ms: i64) -> RoomPass {
        let mut bytes = vec![1; 74];
        bytes[5..13].copy_from_slice(&joined_ms.to_be_bytes());
        bytes[25..41].copy_from_slice(&[9; 16]);
        RoomPass::of(format!("{{\"pass\":\"{}\"}}", URL_SAFE_NO_PAD.encode(bytes)).as_bytes()).unwrap()
    }

    fn document(state: &str, draw_mark: u64, fifo_mark: &str, seed: &str) -> String {
        format!(
            "{{\"state\":\"{state}\",\"draw_mark\":{draw_mark},\"fifo_mark\":{fifo_mark},\
             \"drawn_at\":\"1970-01-01T00:00:05.000Z\",\"seed\":{seed},\"more\":1}}"
        )
    }

    #[test]
    fn a_visitor_knows_its_turn_from_pass_and_document() {
        let (drawn, late) = (pass(4_999), pass(5_000));
        let seed = format!("\"{}\"", "ab".repeat(16));
        let own = priority(&[0xab; 16], &[9; 16]);
        let turn = |pass: &RoomPass, document: String| pass.turn(document.as_bytes()).unwrap();
        assert_eq!(turn(&drawn, document("open", own + 1, "null", &seed)), Turn::Now);
        assert_eq!(turn(&drawn, document("open", own, "null", &seed)), Turn::Later);
        assert_eq!(turn(&drawn, document("drawing", own + 1, "null", "null")), Turn::Later);
        assert_eq!(turn(&late, document("open", own + 1, "null", &seed)), Turn::Later);
        let mixed = |seed: &str| {
            document("open", own + 1, "null", &format!("\"00\",\"beacon\":{{\"round\":7,\"seed\":{seed}}}"))
        };
        assert_eq!((turn(&drawn, mixed(&seed)), turn(&drawn, mixed("null"))), (Turn::Now, Turn::Later));
        assert_eq!(turn(&late, document("open", 0, "\"1970-01-01T00:00:05.001Z\"", "null")), Turn::Now);
        assert_eq!(turn(&late, document("open", 0, "\"1970-01-01T00:00:05.000Z\"", "null")), Turn::Later);
        assert_eq!(turn(&late, document("paused", 0, "\"1970-01-01T00:00:06.000Z\"", "null")), Turn::Later);
        assert_eq!(turn(&late, document("sold_out", 0, "null", "null")), Turn::SoldOut);
        assert_eq!(late.turn(b"{}"), None);
    }
}
