//! In place of `av1` where the program is built without it.

use heifer::heifer_hevc_dec::recon::Frame;
use heifer::heifer_isobmff::{HeifFile, ItemId};

use crate::contract::ScanError;
use crate::intake::container::foreign;

fn absent() -> ScanError {
    foreign("this program was built without AVIF (cargo feature `avif`)")
}

pub(super) fn frames(_file: &HeifFile<'_>, _id: ItemId) -> Result<u64, ScanError> {
    Err(absent())
}

pub(super) fn decode(_file: &HeifFile<'_>, _id: ItemId, _size: (u32, u32)) -> Result<Frame, ScanError> {
    Err(absent())
}
