//! HEVC stills, decoded by `heifer`.

use heifer::heifer_hevc_dec::Error;
use heifer::heifer_hevc_dec::decoder::{DecodeOptions, decode_picture};
use heifer::heifer_hevc_dec::recon::Frame;
use heifer::heifer_isobmff::{HeifFile, ItemId};

use crate::contract::ScanError;
use crate::intake::container::{foreign, unreadable};

/// Parameter sets of one still, bytes.
const MAX_CONFIG: usize = 16 << 10;
/// Units of one still's coded data: slices, and notes between them.
const MAX_UNITS: usize = 1024;

/// NAL units of coded pixels (ITU-T H.265, 7.4.2.2) of one item.
pub(super) fn slices(file: &HeifFile<'_>, id: ItemId) -> Result<u64, ScanError> {
    let config = file.hevc_config(id).map_err(|e| unreadable(&e).source(e))?;
    let config = config.ok_or_else(|| unreadable("its decoder's configuration is missing"))?;
    if config.nal_units.iter().map(|unit| unit.len() + 4).sum::<usize>() > MAX_CONFIG {
        return Err(unreadable(
            "its decoder's configuration is larger than any camera's",
        ));
    }
    let data = file.item_data(id).map_err(|e| unreadable(&e).source(e))?;
    let mut rest: &[u8] = &data;
    let (mut units, mut found) = (0, 0);
    while let Some((head, tail)) = rest.split_at_checked(usize::from(config.nal_length_size)) {
        let length = head.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
        let Some((unit, tail)) = tail.split_at_checked(length) else {
            break;
        };
        units += 1;
        if units > MAX_UNITS {
            return Err(unreadable("its pixels are cut into more units than a camera's"));
        }
        found += u64::from(unit.first().is_some_and(|b| b >> 1 & 0x3F < 32));
        rest = tail;
    }
    Ok(found)
}

pub(super) fn decode(
    file: &HeifFile<'_>,
    id: ItemId,
    (width, height): (u32, u32),
) -> Result<Frame, ScanError> {
    let stream = file.hevc_bitstream(id).map_err(|e| unreadable(&e).source(e))?;
    // Coded pictures are whole blocks, of 64 pixels at most.
    let padded = |side: u32| u64::from(side).next_multiple_of(64);
    let options = DecodeOptions {
        verify_hash: true,
        max_pixels: padded(width) * padded(height),
        ..DecodeOptions::default()
    };
    decode_picture(&stream, options).map_err(refused)
}

fn refused(e: Error) -> ScanError {
    match &e {
        Error::Unimplemented(what) if what.contains("size limit") => {
            unreadable("its pixels are more than stated").source(e)
        }
        Error::Unimplemented(what) => foreign(what).source(e),
        _ => unreadable(&e).source(e),
    }
}
