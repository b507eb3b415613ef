//! The code of texts in header blocks (RFC 7541, 5.2 and appendix B). It is canonical: the lengths alone tell it, and
//! the compiler makes the tables from them.

/// Bits of each symbol's code; the last is the end of a text, which no text has.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

const SYMBOLS: usize = 257;
const END: usize = 256;
const BITS_MAX: usize = 30;
/// Codes up to this length are found by one look: those of what header fields are mostly made of.
const QUICK_BITS: usize = 8;

const TABLES: Tables = Tables::new();

struct Tables {
    /// For each beginning of eight bits the symbol and its bits; no bits where the code is longer.
    quick: [(u8, u8); 1 << QUICK_BITS],
    /// Symbols in the order of their codes.
    symbols: [u16; SYMBOLS],
    /// For each length: its first code, shifted to the upper end of 32 bits.
    first: [u32; BITS_MAX + 1],
    /// What is behind its last one.
    behind: [u64; BITS_MAX + 1],
    /// Where its symbols begin.
    place: [u16; BITS_MAX + 1],
}

impl Tables {
    const fn new() -> Self {
        let mut tables = Self {
            quick: [(0, 0); 1 << QUICK_BITS],
            symbols: [0; SYMBOLS],
            first: [0; BITS_MAX + 1],
            behind: [0; BITS_MAX + 1],
            place: [0; BITS_MAX + 1],
        };
        let (mut code, mut placed, mut bits) = (0u64, 0, 1);
        while bits <= BITS_MAX {
            let shift = 32 - bits;
            tables.first[bits] = (code << shift) as u32;
            tables.place[bits] = placed as u16;
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == bits {
                    tables.symbols[placed] = symbol as u16;
                    placed += 1;
                    if bits <= QUICK_BITS {
                        let start = (code << (QUICK_BITS - bits)) as usize;
                        let mut next = start;
                        while next < start + (1 << (QUICK_BITS - bits)) {
                            tables.quick[next] = (symbol as u8, bits as u8);
                            next += 1;
                        }
                    }
                    code += 1;
                }
                symbol += 1;
            }
            tables.behind[bits] = code << shift;
            code <<= 1;
            bits += 1;
        }
        tables
    }
}

/// The text is not in this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotInCode;

/// Writes the text behind what is in `out`.
///
/// # Errors
/// It names its end, or has padding of more than seven bits or of anything but ones.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), NotInCode> {
    // The next bits, at the upper end, and how many of them there are.
    let (mut next, mut have) = (0u64, 0u32);
    let mut bytes = text.iter();
    loop {
        while have <= 56
            && let Some(byte) = bytes.next()
        {
            next |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        let (symbol, bits) = TABLES.quick[(next >> 56) as usize];
        let (symbol, bits) = if bits > 0 { (symbol, u32::from(bits)) } else { long(next, have)? };
        if bits > have {
            let is_padding = have < 8 && next.leading_ones() >= have;
            return if is_padding { Ok(()) } else { Err(NotInCode) };
        }
        out.push(symbol);
        next <<= bits;
        have -= bits;
    }
}

/// The same for a code of more than eight bits.
fn long(next: u64, have: u32) -> Result<(u8, u32), NotInCode> {
    let window = (next >> 32) as u32;
    let mut bits = QUICK_BITS + 1;
    while u64::from(window) >= TABLES.behind[bits] {
        bits += 1;
        if bits > BITS_MAX {
            // Thirty ones and anything behind them.
            return Err(NotInCode);
        }
    }
    let place = usize::from(TABLES.place[bits]) + ((window - TABLES.first[bits]) >> (32 - bits)) as usize;
    match usize::from(TABLES.symbols[place]) {
        END if bits as u32 <= have => Err(NotInCode),
        symbol => Ok((symbol as u8, bits as u32)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The code's own rules, the other way round.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let place = TABLES.symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let code =
                (TABLES.first[length] >> (32 - length)) + (place - usize::from(TABLES.place[length])) as u32;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect()
    }

    fn decoded(text: &[u8]) -> Result<Vec<u8>, NotInCode> {
        let mut out = Vec::new();
        decode(text, &mut out).map(|()| out)
    }

    #[test]
    fn the_codes_are_those_of_the_table() {
        for (symbol, code) in [
            (&b"0"[..], &[0b0000_0111][..]),
            (b"a", &[0b0001_1111]),
            (b"\0", &[0xff, 0b1100_0111]),
            (b"Z", &[0xfd]),
            (b"|", &[0xff, 0b1001_1111]),
            (b"\n", &[0xff, 0xff, 0xff, 0b1111_0011]),
            (&[0xff], &[0xff, 0xff, 0xfb, 0b1011_1111]),
        ] {
            assert_eq!(encode(symbol), code, "{symbol:?}");
            assert_eq!(decoded(code).as_deref(), Ok(symbol), "{code:x?}");
        }
    }

    #[test]
    fn padding_is_up_to_seven_ones() {
        assert_eq!(decoded(&[]), Ok(vec![]));
        for wrong in [&[0xff][..], &[0x1f, 0xff], &[0b0001_1110], &[0xff; 4], &[0xff; 5], &[0x1f, 0xff, 0xff]]
        {
            assert_eq!(decoded(wrong), Err(NotInCode), "{wrong:x?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }

        #[test]
        fn what_is_accepted_is_written_in_one_way(code in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(text) = decoded(&code) {
                prop_assert_eq!(encode(&text), code);
            }
        }
    }
}
