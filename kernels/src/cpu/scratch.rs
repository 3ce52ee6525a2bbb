//! Working memory that threads keep between calls, so that a layer does not fault fresh pages in on every call.

use std::cell::RefCell;

use super::memory::zeros;
use super::tiles::Line;

/// Floats that one kept buffer may hold (16 MiB); larger ones are freed after use.
const KEEP: usize = 4 << 20;
/// Floats in a cache line.
const LINE: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    static FREE_LINES: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Takes the smallest buffer that holds `len`, so that large ones are left for those who need them; any where none does.
fn closest<T>(free: &mut Vec<Vec<T>>, len: usize) -> Vec<T> {
    let fitting = free.iter().enumerate().filter(|(_, b)| b.len() >= len);
    match fitting.min_by_key(|(_, b)| b.len()).map(|(i, _)| i) {
        Some(i) => free.swap_remove(i),
        None => free.pop().unwrap_or_default(),
    }
}

/// Runs `f` with `len` lines of tiles of unspecified content.
pub(crate) fn lines<R>(len: usize, f: impl FnOnce(&mut [Line]) -> R) -> R {
    let mut buffer = FREE_LINES.with_borrow_mut(|free| closest(free, len));
    if buffer.len() < len {
        buffer = vec![Line::ZERO; len];
    }
    let result = f(&mut buffer[..len]);
    if buffer.len() <= KEEP / LINE {
        FREE_LINES.with_borrow_mut(|free| {
            if free.len() < 4 {
                free.push(buffer);
            }
        });
    }
    result
}

/// Runs `f` with `len` floats of unspecified content, aligned to a cache line.
pub(crate) fn with<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(|free| closest(free, len + LINE));
    if buffer.len() < len + LINE {
        // Not `resize`: the old content is not worth copying.
        buffer = zeros(len + LINE);
    }
    let start = buffer.as_ptr().align_offset(64).min(LINE);
    let result = f(&mut buffer[start..start + len]);
    if buffer.len() <= KEEP {
        FREE.with_borrow_mut(|free| {
            if free.len() < 4 {
                free.push(buffer);
            }
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_buffers_do_not_overlap() {
        for len in [0, 1, 100, 5000] {
            with(len, |a| {
                a.fill(1.);
                with(len, |b| b.fill(2.));
                assert_eq!(a.len(), len);
                assert!(a.iter().all(|&v| v == 1.));
            });
        }
    }
}
