//! What is said where a GPU's work cannot be launched as graphs.

use std::sync::{Mutex, PoisonError};

use crate::ModelError;

/// Warns that `what` goes on without graphs, once for each of them: what a driver refuses it refuses again.
pub(crate) fn not_launched(what: &'static str, error: &ModelError) {
    static TOLD: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.contains(&what) {
        return;
    }
    told.push(what);
    tracing::warn!("{what} are not launched as graphs, which DRAGUNOV_CUDA_GRAPHS asks for: {error}");
}
