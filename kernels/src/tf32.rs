//! Whether a GPU may multiply f32 as TF32, with 11 bits of each operand: a model says so around the layers that it holds for, as only
//! it knows what its answer is exact to. The CPU never does.

use std::cell::Cell;

thread_local! {
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// What `f` answers, its convolutions of f32 by tensor cores as TF32 if `allowed`, on this thread.
pub fn with_tf32<R>(allowed: bool, f: impl FnOnce() -> R) -> R {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALLOWED.set(self.0);
        }
    }
    let _before = Before(ALLOWED.replace(allowed));
    f()
}

#[cfg(feature = "cuda")]
pub(crate) fn is_allowed() -> bool {
    ALLOWED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_allowed_before_is_again() {
        let seen = with_tf32(true, || (with_tf32(false, || ALLOWED.get()), ALLOWED.get()));
        assert_eq!((seen, ALLOWED.get()), ((false, true), false));
    }
}
