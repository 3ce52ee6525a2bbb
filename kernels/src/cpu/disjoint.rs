//! Output that parallel tasks write in pieces which are disjoint but not contiguous.

use std::marker::PhantomData;

/// A slice whose pieces are handed to tasks; the caller of [`DisjointOutput::piece`] vouches that they do not overlap.
pub(crate) struct DisjointOutput<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer comes from an exclusive borrow that lives as long as `DisjointOutput`, and `piece` is only given out
// for ranges that no other task uses (its contract), so sharing it between threads races on nothing.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for DisjointOutput<'_, T> {}

impl<'a, T> DisjointOutput<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.len(),
            owner: PhantomData,
        }
    }

    #[inline(always)]
    /// The elements `begin .. begin + len`.
    ///
    /// # Safety
    /// No two pieces that exist at the same time may overlap.
    ///
    /// # Panics
    /// If the range leaves the slice.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(crate) unsafe fn piece(&self, begin: usize, len: usize) -> &mut [T] {
        assert!(
            begin <= self.len && len <= self.len - begin,
            "a piece outside the output"
        );
        // SAFETY: in bounds by the assertion, exclusive by the caller's promise, alive as `owner` says.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(begin), len) }
    }
}
