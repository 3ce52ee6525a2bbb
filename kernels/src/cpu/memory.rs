//! Fresh memory for results and weights.
//!
//! The kernel hands it out page by page when it is first written, which for pages of 4 KiB costs more than a cheap layer's
//! arithmetic; Linux gives pages of 2 MiB where it is asked to (`madvise`, with transparent huge pages on or on request).
//!
//! Better still is memory that never went back: glibc's allocator is told to keep what was freed.

use std::sync::Once;

/// Bytes from which on it is asked.
const LARGE: usize = 4 << 20;

static KEPT: Once = Once::new();

/// `len` zeros.
pub(crate) fn zeros<T: Number>(len: usize) -> Vec<T> {
    KEPT.call_once(keep_freed);
    // Not touched yet: the allocator takes large blocks from the kernel, which zeroes them.
    let mut numbers = vec![T::ZERO; len];
    advise(&mut numbers);
    numbers
}

/// Numbers of which every pattern of bits is one.
pub(crate) trait Number: Copy {
    const ZERO: Self;
    const NAN: Self;
}

impl Number for f32 {
    const ZERO: Self = 0.;
    const NAN: Self = Self::NAN;
}

impl Number for half::bf16 {
    const ZERO: Self = Self::ZERO;
    const NAN: Self = Self::NAN;
}

impl Number for half::f16 {
    const ZERO: Self = Self::ZERO;
    const NAN: Self = Self::NAN;
}

/// `len` numbers of any content, for kernels that write every one of them: zeroing, on one thread, would take as long as a cheap
/// layer's arithmetic. With debug assertions they are NaN, so that tests see one that was not written.
#[allow(unsafe_code)]
pub(crate) fn unwritten<T: Number>(len: usize) -> Vec<T> {
    if cfg!(debug_assertions) || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return vec![T::NAN; len];
    }
    KEPT.call_once(keep_freed);
    let mut numbers = Vec::with_capacity(len);
    // SAFETY: there is room for `len` numbers. The empty assembly stands for one that writes them all, so that the compiler takes what
    // lies there for written; every pattern of bits is a `Number`.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    unsafe {
        let start: *mut T = numbers.as_mut_ptr();
        std::arch::asm!("/* {0} */", in(reg) start, options(nostack, preserves_flags));
        numbers.set_len(len);
    }
    advise(&mut numbers);
    numbers
}

fn advise<T>(numbers: &mut [T]) {
    if size_of_val(numbers) >= LARGE {
        in_large_pages(numbers);
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn in_large_pages<T>(numbers: &mut [T]) {
    use std::ffi::{c_int, c_void};

    const PAGE: usize = 4096;
    const MADV_HUGEPAGE: c_int = 14;

    // SAFETY: as the C library declares it.
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }

    let range = numbers.as_mut_ptr_range();
    let begin = (range.start as usize).next_multiple_of(PAGE);
    let end = range.end as usize / PAGE * PAGE;
    if begin < end {
        // SAFETY: whole pages inside `numbers`, whose content this advice does not change. Where it is refused they stay small.
        unsafe { madvise(begin as *mut c_void, end - begin, MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages<T>(_: &mut [T]) {}

/// Blocks of up to 32 MiB, the most that glibc allows, come out of the heap, and up to 256 MiB that are free at its end stay there;
/// by itself it gives back whatever is more than twice the largest block. A scan's next layers want the same blocks again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn keep_freed() {
    use std::ffi::c_int;

    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;

    // SAFETY: as the C library declares it.
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    // SAFETY: two numbers of the allocator's; what is refused stays as it was.
    unsafe {
        mallopt(M_MMAP_THRESHOLD, 32 << 20);
        mallopt(M_TRIM_THRESHOLD, 256 << 20);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed() {}
