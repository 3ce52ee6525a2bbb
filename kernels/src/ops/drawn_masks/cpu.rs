use super::{MaskBits, MaskGrid, MaskThresholds, WORD};
use crate::MaskFacts;

pub(super) fn draw(grid: &MaskGrid, logits: &[f32], thresholds: &MaskThresholds) -> (MaskFacts, MaskBits) {
    let (xs, ys) = grid.window(logits, thresholds.floor());
    let (mut above_high, mut above_low) = (0, 0);
    let mut bounds: Option<[u32; 4]> = None;
    let first_word = ys.start / WORD;
    let words = ys.end.div_ceil(WORD) - first_word;
    // Words of a column together, as it is made.
    let mut drawn = vec![0u32; xs.len() * words];
    grid.each_column(logits, (&xs, &ys), |x, column| {
        let count = |threshold: f32| column.iter().filter(|&&v| v > threshold).count() as u32;
        above_high += count(thresholds.high);
        above_low += count(thresholds.low);
        let own = &mut drawn[(x - xs.start) * words..][..words];
        pack(column, ys.start % WORD, thresholds.mask, own);
        let Some(first) = own.iter().position(|w| *w != 0) else {
            return;
        };
        let last = own.iter().rposition(|w| *w != 0).unwrap_or(first);
        let row_of = |word: usize, bit: u32| ((first_word + word) * WORD) as u32 + bit;
        let (top, bottom) = (
            row_of(first, own[first].trailing_zeros()),
            row_of(last, 31 - own[last].leading_zeros()),
        );
        let x = x as u32;
        let [x0, _, y0, y1] = bounds.unwrap_or([x, x, top, bottom]);
        bounds = Some([x0, x, y0.min(top), y1.max(bottom)]);
    });
    let bits = bounds.map_or_else(MaskBits::default, |bounds| {
        let (mut bits, lines) = MaskBits::around(bounds);
        let (left, top) = (bits.left - xs.start, bits.top / WORD - first_word);
        for line in 0..lines {
            let columns = left..left + bits.columns;
            bits.words.extend(columns.map(|x| drawn[x * words + top + line]));
        }
        bits
    });
    let facts = MaskFacts {
        above_high,
        above_low,
        bounds,
    };
    (facts, bits)
}

/// Sets bit `lead + i` for every value i above the threshold.
fn pack(values: &[f32], lead: usize, threshold: f32, words: &mut [u32]) {
    let word = |values: &[f32]| {
        let bits = values.iter().enumerate();
        bits.fold(0, |word, (i, v)| word | u32::from(*v > threshold) << i)
    };
    let (begin, rest) = values.split_at(values.len().min(WORD - lead));
    words[0] = word(begin) << lead;
    for (to, values) in words[1..].iter_mut().zip(rest.chunks(WORD)) {
        *to = word(values);
    }
}
