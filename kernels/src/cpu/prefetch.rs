//! Memory that is wanted soon, on its way into the first-level cache while something else is computed.

/// Asks for the cache line that `wanted` begins in; nothing where the machine is not asked so.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(wanted: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, which changes no register or memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(wanted).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = wanted;
}
