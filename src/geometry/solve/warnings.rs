//! One list of warnings, each code once.

use crate::contract::{Warning, WarningCode};

pub(crate) fn warn(warnings: &mut Vec<Warning>, code: WarningCode, message: &str) {
    if warnings.iter().all(|w| w.code != code) {
        warnings.push(Warning::new(code, message));
    }
}
