//! Telling a user's clients that something has changed: "go and fetch", by kind and id, never what it is.

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A scan's result waits to be confirmed.
    ScanReady,
    /// A scan will give no result.
    ScanFailed,
    /// A scan was changed in some other way: uploaded, running, corrected, confirmed, rejected.
    ScanChanged,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScanReady => "scan_ready",
            Self::ScanFailed => "scan_failed",
            Self::ScanChanged => "scan_changed",
        }
    }
}
