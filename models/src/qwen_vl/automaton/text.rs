//! JSON strings byte by byte: escapes, and only well-formed UTF-8.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextPhase {
    /// Before the opening quote.
    Open,
    Inside,
    Escape,
    /// Inside a UTF-8 sequence: so many bytes to come, the next one within these bounds.
    Tail {
        left: u8,
        low: u8,
        high: u8,
    },
}

pub(super) enum TextStep {
    Goes { chars: u32, phase: TextPhase },
    Ends,
}

/// One byte of a JSON string of `min ..= max` characters, `chars` of which are complete.
pub(super) fn step_text(chars: u32, phase: TextPhase, byte: u8, min: u32, max: u32) -> Option<TextStep> {
    let goes = |chars, phase| Some(TextStep::Goes { chars, phase });
    let inside = |chars| goes(chars, TextPhase::Inside);
    let tail = |left, low, high| goes(chars, TextPhase::Tail { left, low, high });
    match phase {
        TextPhase::Open => {
            if byte == b'"' {
                inside(0)
            } else {
                None
            }
        }
        TextPhase::Escape => {
            if b"\"\\/".contains(&byte) {
                inside(chars + 1)
            } else {
                None
            }
        }
        TextPhase::Tail { left, low, high } => {
            if !(low..=high).contains(&byte) {
                return None;
            }
            if left == 1 {
                inside(chars + 1)
            } else {
                tail(left - 1, 0x80, 0xBF)
            }
        }
        TextPhase::Inside if byte == b'"' => (chars >= min).then_some(TextStep::Ends),
        TextPhase::Inside if chars >= max => None,
        // Well-formed UTF-8 (Unicode 15, table 3-7) without the controls of C0 and DEL.
        TextPhase::Inside => match byte {
            b'\\' => goes(chars, TextPhase::Escape),
            0x20..=0x7E => inside(chars + 1),
            0xC2..=0xDF => tail(1, 0x80, 0xBF),
            0xE0 => tail(2, 0xA0, 0xBF),
            0xED => tail(2, 0x80, 0x9F),
            0xE1..=0xEF => tail(2, 0x80, 0xBF),
            0xF0 => tail(3, 0x90, 0xBF),
            0xF1..=0xF3 => tail(3, 0x80, 0xBF),
            0xF4 => tail(3, 0x80, 0x8F),
            _ => None,
        },
    }
}
