//! The compressed string form of COCO run lengths, as pycocotools writes and reads it.

use super::Mask;

impl Mask {
    /// The `counts` string of a COCO RLE: differences to the run before last, 5 bits a character from `'0'` up.
    pub fn to_coco_string(&self) -> String {
        let mut out = String::with_capacity(self.counts.len() * 2);
        for (i, &count) in self.counts.iter().enumerate() {
            let mut rest = i64::from(count);
            if i > 2 {
                rest -= i64::from(self.counts[i - 2]);
            }
            loop {
                let mut bits = (rest & 0x1f) as u8;
                rest >>= 5;
                let more = if bits & 0x10 != 0 { rest != -1 } else { rest != 0 };
                if more {
                    bits |= 0x20;
                }
                out.push(char::from(bits + 48));
                if !more {
                    break;
                }
            }
        }
        out
    }

    /// Reads such a string; `None` if it is malformed or its runs do not fill `width` x `height`.
    pub fn from_coco_string(width: usize, height: usize, text: &str) -> Option<Self> {
        let mut counts: Vec<u32> = Vec::new();
        let mut bytes = text.bytes();
        while let Some(first) = bytes.next() {
            let (mut value, mut shift, mut byte) = (0i64, 0u32, first);
            loop {
                let bits = byte.checked_sub(48).filter(|bits| *bits < 64)?;
                // 7 groups of 5 bits hold any difference of two 32-bit runs
                if shift > 30 {
                    return None;
                }
                value |= i64::from(bits & 0x1f) << shift;
                shift += 5;
                if bits & 0x20 == 0 {
                    if bits & 0x10 != 0 {
                        value |= -1i64 << shift;
                    }
                    break;
                }
                byte = bytes.next()?;
            }
            if counts.len() > 2 {
                value += i64::from(counts[counts.len() - 2]);
            }
            counts.push(u32::try_from(value).ok()?);
        }
        Self::from_counts(width, height, counts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_pycocotools() {
        // pycocotools.mask.frPyObjects({"size": [h, w], "counts": counts}, h, w)
        for (w, h, counts, text) in [
            (4usize, 3usize, vec![2u32, 4, 1, 1, 4], "241M3"),
            (10, 10, vec![100], "T3"),
            (10, 10, vec![0, 100], "0T3"),
            (100, 100, vec![17, 3, 5000, 2, 4978], "a03Xl4OZO"),
        ] {
            let mask = Mask::from_counts(w, h, counts).unwrap();
            assert_eq!(mask.to_coco_string(), text);
            assert_eq!(Mask::from_coco_string(w, h, text), Some(mask));
        }
    }

    #[test]
    fn broken_strings_are_refused() {
        for text in ["", "T", "T3T3", "\u{7f}", "/", "oooooooooo3", "2O"] {
            assert_eq!(Mask::from_coco_string(10, 10, text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn strings_round_trip(w in 1usize..40, h in 1usize..40, seed in any::<u64>()) {
            let bit = |x: usize, y: usize| (seed.rotate_left((x * 7 + y * 13) as u32 % 64) & 3) == 0;
            let mask = Mask::from_fn(w, h, bit);
            prop_assert_eq!(Mask::from_coco_string(w, h, &mask.to_coco_string()), Some(mask));
        }
    }
}
