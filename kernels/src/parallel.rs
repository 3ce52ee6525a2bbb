//! How work is cut for rayon's threads.

/// Multiply-adds below which a product stays on the calling thread.
pub(crate) const SERIAL_WORK: usize = 1 << 16;

/// Items per task: about four tasks a thread, a multiple of `multiple`, at least `least` and at most `most`.
pub(crate) fn grain(items: usize, multiple: usize, least: usize, most: usize) -> usize {
    let share = items
        .div_ceil(4 * rayon::current_num_threads())
        .next_multiple_of(multiple);
    share.clamp(least.max(1), most.max(least).max(1))
}
