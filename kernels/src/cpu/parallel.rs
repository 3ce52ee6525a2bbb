//! How work is cut for rayon's threads.

/// Multiply-adds below which a product stays on the calling thread.
pub(crate) const SERIAL_WORK: usize = 1 << 16;

/// Elements that one task of an element-wise op handles: 128 KiB in, 128 KiB out.
pub(crate) const CHUNK: usize = 32 * 1024;

/// Items per task: about four tasks a thread, a multiple of `multiple`, at least `least` and at most `most`.
pub(crate) fn grain(items: usize, multiple: usize, least: usize, most: usize) -> usize {
    let share = items
        .div_ceil(4 * rayon::current_num_threads())
        .next_multiple_of(multiple);
    share.clamp(least.max(1), most.max(least).max(1))
}

/// Where to cut `items` into tasks of nearly one size, of `most` at most, at multiples of `multiple`; as many for every
/// thread. The first cut is 0, the last `items`.
pub(crate) fn even_cuts(items: usize, multiple: usize, most: usize) -> Vec<usize> {
    let threads = rayon::current_num_threads().max(1);
    let blocks = items.div_ceil(multiple);
    let tasks = items
        .div_ceil(most)
        .next_multiple_of(threads)
        .clamp(1, blocks.max(1));
    (0..=tasks)
        .map(|task| (blocks * task / tasks * multiple).min(items))
        .collect()
}

/// Cuts a slice in pieces that end at `cuts` (as of [`even_cuts`]) times `unit`, each with its first item.
pub(crate) fn pieces<'a>(data: &'a mut [f32], cuts: &[usize], unit: usize) -> Vec<(usize, &'a mut [f32])> {
    let mut rest = data;
    cuts.windows(2)
        .map(|cut| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut((cut[1] - cut[0]) * unit);
            rest = after;
            (cut[0], piece)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_even_and_cover_everything() {
        for items in [1, 5, 24, 256, 512, 1024, 1370, 4096] {
            for multiple in [1, 6, 8] {
                let cuts = even_cuts(items, multiple, 128);
                assert_eq!((cuts[0], cuts[cuts.len() - 1]), (0, items));
                let sizes: Vec<usize> = cuts.windows(2).map(|w| w[1] - w[0]).collect();
                let least = sizes.iter().min().copied().unwrap_or(0);
                let most = sizes.iter().max().copied().unwrap_or(0);
                assert!(most <= 128 + multiple, "{items} by {multiple}: {sizes:?}");
                // The last block may be a partial one.
                assert!(
                    most - least < 2 * multiple.max(2),
                    "{items} by {multiple}: {sizes:?}"
                );
                let mut data = vec![0.; items * 3];
                for (first, piece) in pieces(&mut data, &cuts, 3) {
                    piece.fill(first as f32 + 1.);
                }
                assert!(data.iter().all(|&v| v > 0.));
            }
        }
    }
}
