//! How the pixels of a still are coded.

use heifer::heifer_hevc_dec::recon::Frame;
use heifer::heifer_isobmff::{HeifFile, ItemId};

use super::{av1, hevc};
use crate::contract::ScanError;
use crate::intake::container::foreign;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// HEIC (ITU-T H.265).
    Hevc,
    /// AVIF (AOMedia AV1).
    Av1,
}

impl Codec {
    /// # Errors
    /// `image_format` for every other kind of item.
    pub(super) fn of(kind: [u8; 4]) -> Result<Self, ScanError> {
        match &kind {
            b"hvc1" => Ok(Self::Hevc),
            b"av01" => Ok(Self::Av1),
            _ => Err(foreign(format_args!("its pixels are {}", kind.escape_ascii()))),
        }
    }

    /// Slices or frames of coded pixels of one item, each of which may take as long as a whole picture.
    ///
    /// # Errors
    /// `image_unreadable` for data that are cut into more units than any camera's.
    pub(super) fn pictures(self, file: &HeifFile<'_>, id: ItemId) -> Result<u64, ScanError> {
        match self {
            Self::Hevc => hevc::slices(file, id),
            Self::Av1 => av1::frames(file, id),
        }
    }

    /// Pixels of one item, which states that it has `size`; a decoder makes no more of them than that and padding.
    ///
    /// # Errors
    /// `image_unreadable` for damaged data, `image_format` for codings that no camera writes.
    pub(super) fn decode(
        self,
        file: &HeifFile<'_>,
        id: ItemId,
        size: (u32, u32),
    ) -> Result<Frame, ScanError> {
        match self {
            Self::Hevc => hevc::decode(file, id, size),
            Self::Av1 => av1::decode(file, id, size),
        }
    }
}
