//! Why a scene cannot be measured.

use crate::contract::{ErrorCode, ScanError};

/// A scene that has no honest answer. Everything else is an answer with flags and a wide interval.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeometryError {
    #[error("{field} = {value} cannot be: {reason}")]
    Invalid {
        field: &'static str,
        value: f64,
        reason: &'static str,
    },
    #[error("{what} is {found:?} pixels, the photo {expected:?}")]
    SizeMismatch {
        what: &'static str,
        found: [usize; 2],
        expected: [usize; 2],
    },
    #[error(
        "the camera looks {tilt_deg:.0} degrees away from straight down; over 75 the table is seen edge-on"
    )]
    TiltTooLarge { tilt_deg: f64 },
    #[error(
        "no pitch was sent, and the coin and the table contradict each other: by its outline the coin is seen from \
         {coin_deg:.0} degrees, the table runs away as under {table_deg:.0}; so the coin stands on its edge and the photo \
         looks along the table"
    )]
    CoinOnEdge { coin_deg: f64, table_deg: f64 },
    #[error("too little of the table can be seen: {samples} usable samples, {needed} needed")]
    TableNotVisible { samples: usize, needed: usize },
    #[error("the table in the depth raster does not fit the stated tilt of {tilt_deg:.0} degrees: {reason}")]
    PitchInconsistent { tilt_deg: f64, reason: String },
    #[error("the depth raster has no usable values: {reason}")]
    DepthInvalid { reason: &'static str },
    #[error("the camera would be {height_cm:.0} cm over the table: the scale cannot be")]
    Implausible { height_cm: f64 },
    #[error("no food was given to measure")]
    NoFood,
}

impl GeometryError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::InvalidField,
            Self::SizeMismatch { .. } => ErrorCode::Internal,
            Self::TiltTooLarge { .. } | Self::CoinOnEdge { .. } => ErrorCode::TiltTooLarge,
            Self::TableNotVisible { .. } => ErrorCode::TableNotVisible,
            Self::PitchInconsistent { .. } => ErrorCode::PitchInconsistent,
            Self::DepthInvalid { .. } => ErrorCode::DepthInvalid,
            Self::Implausible { .. } => ErrorCode::Implausible,
            Self::NoFood => ErrorCode::NoFood,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::TiltTooLarge { .. } => {
                Some("hold the phone 20 to 45 degrees from flat and take the photo again")
            }
            Self::CoinOnEdge { .. } => Some(
                "lay the coin flat, hold the phone 20 to 45 degrees from flat, and send the pitch if it is known",
            ),
            Self::TableNotVisible { .. } => Some("step back so that some table shows around the plate"),
            Self::PitchInconsistent { .. } => {
                Some("check the pitch: 0 is the phone flat with the lens straight down, 90 is upright")
            }
            Self::Implausible { .. } => Some(
                "check the diameter or the height that was sent, or take the photo from 30 to 50 cm away",
            ),
            Self::NoFood => Some("check that the meal is in the picture"),
            _ => None,
        }
    }
}

impl From<GeometryError> for ScanError {
    fn from(error: GeometryError) -> Self {
        let out = ScanError::new(error.code(), error.to_string());
        match error.advice() {
            Some(text) => out.next_step(text).source(error),
            None => out.source(error),
        }
    }
}
