//! What clients are told: that something has changed, never what it is now.

/// Kind of the event that asks for a notice to be delivered beyond this service's own sockets.
pub const DELIVER: &str = "Deliver";

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

/// What a phone shows for a kind, if anything. Others read what passes through push services: no food, no numbers.
pub fn alert(kind: &str) -> Option<&'static str> {
    match kind {
        "scan_ready" => Some("Scan Complete. Tap to Confirm"),
        "scan_failed" => Some("A photo could not be read. Tap to try again"),
        _ => None,
    }
}
