//! What long work asks of whoever started it.

use super::{ScanError, Stage};

/// Whether to go on, and who hears of progress. Work calls [`Control::check`] between its steps.
pub trait Control {
    /// # Errors
    /// `cancelled` or `deadline_exceeded`: stop here and hand the error up.
    fn check(&self) -> Result<(), ScanError>;

    /// A stage begins, or goes on after another one.
    ///
    /// # Errors
    /// As [`Self::check`].
    fn stage(&self, stage: Stage) -> Result<(), ScanError>;
}
