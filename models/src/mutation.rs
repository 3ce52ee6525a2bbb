//! Deliberate faults that prove the parity tests can fail. Without feature `mutations` none can be switched on.
//!
//! Each names a mistake that real ports of these models made; `tests/parity` switches one on, runs its comparison
//! and demands that it diverges.

/// One fault, compiled in only with feature `mutations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Decoded tokens continue from the number of tokens, not from the positions of the prompt.
    QwenRopeDeltaZero,
    /// Merged tokens stay in the order of the attention windows.
    QwenKeepWindowOrder,
    /// All RMS norms with eps 1e-2.
    QwenEps,
    /// Tanh approximation in the patch merger.
    QwenMergerTanhGelu,
}

#[cfg(feature = "mutations")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Whether the code that asks shall do the wrong thing.
#[cfg(feature = "mutations")]
pub(crate) fn is(fault: Mutation) -> bool {
    ACTIVE.get() == Some(fault)
}

#[cfg(not(feature = "mutations"))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}

/// `f` for another thread, with what is switched on here.
#[cfg(feature = "mutations")]
pub(crate) fn carried<R>(f: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let active = ACTIVE.get();
    move || match active {
        Some(fault) => with(fault, f),
        None => f(),
    }
}

#[cfg(not(feature = "mutations"))]
pub(crate) const fn carried<F>(f: F) -> F {
    f
}

/// Runs `f` with one fault switched on, on this thread.
#[cfg(feature = "mutations")]
pub fn with<T>(fault: Mutation, f: impl FnOnce() -> T) -> T {
    struct Reset(Option<Mutation>);
    impl Drop for Reset {
        fn drop(&mut self) {
            ACTIVE.set(self.0);
        }
    }
    let _reset = Reset(ACTIVE.replace(Some(fault)));
    f()
}
