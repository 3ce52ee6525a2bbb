//! HEIC and AVIF: a HEIF container (ISO/IEC 23008-12) whose pixels are HEVC or AV1 stills, as phones store photos.
//!
//! `tables` bounds the container's tables before they are read, `still` says what of the file is the picture and puts it
//! together, `turn` how it is turned, `codec` how its pixels are coded. The boxes are read by `heifer`.

#[cfg(feature = "avif")]
mod av1;
#[cfg(not(feature = "avif"))]
#[path = "heif/av1_absent.rs"]
mod av1;
mod codec;
mod hevc;
mod still;
mod tables;
mod turn;

use std::borrow::Cow;

use heifer::heifer_isobmff::boxes::{ColorInfo, Property};
use heifer::heifer_isobmff::{HeifFile, ItemId};

pub(super) use self::still::Still;
use super::container::{Coded, Contents, MAX_EXIF, MAX_ICC, Profile, first, unreadable};
use crate::contract::ScanError;

/// Takes the file apart; no pixel is decoded. `bytes` begin with a `ftyp` box.
///
/// # Errors
/// `image_format` for sequences without a still, overlays and whatever else is no plain photo; `image_unreadable` for
/// files cut short and tables that contradict one another or are larger than any photo's.
pub(super) fn open(bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    let boxes = tables::bounded(bytes)?;
    let file = HeifFile::parse(boxes).map_err(|e| unreadable(&e).source(e))?;
    let id = file.primary_id;
    let turn = turn::of_item(&file, id)?;
    let (exif, icc, alpha) = (exif(&file), profile(&file), has_alpha(&file));
    let still = Still::of(file, boxes.len())?;
    let crop = still.crop()?;
    let (width, height) = still.size();
    Ok(Contents {
        width,
        height,
        crop,
        bytes_a_pixel: still.bytes_a_pixel(),
        coded: Coded::Heif(still),
        alpha,
        lacking: None,
        exif: exif.map(Cow::Owned),
        turn: Some(turn),
        xmp_orientation: None,
        late: false,
        icc,
    })
}

/// The EXIF block that describes the picture, or the only one there is: an offset, then TIFF (ISO/IEC 23008-12, A.2.1).
fn exif(file: &HeifFile<'_>) -> Option<Vec<u8>> {
    let is_exif = |id: &ItemId| file.item(*id).is_ok_and(|item| item.item_type.0 == *b"Exif");
    let of_primary = file.referencing_items(file.primary_id, b"cdsc");
    let id = of_primary
        .into_iter()
        .find(is_exif)
        .or_else(|| file.items.iter().map(|item| item.id).find(is_exif))?;
    let data = file.item_data(id).ok()?;
    let (offset, rest) = data.split_first_chunk::<4>()?;
    let block = rest.get(u32::from_be_bytes(*offset) as usize..)?;
    Some(first(block, MAX_EXIF).to_vec())
}

/// Colours of the picture, or of its first tile where it says nothing itself. None if they are sRGB's.
fn profile(file: &HeifFile<'_>) -> Option<Profile<'static>> {
    let of = |id: ItemId| {
        let colours = || {
            let properties = file.item_properties(id).into_iter().flatten();
            properties.filter_map(|p| match p {
                Property::Color(colour) => Some(colour),
                _ => None,
            })
        };
        let icc = colours().find_map(|c| match c {
            ColorInfo::Icc(icc) if icc.len() > MAX_ICC => Some(Profile::Unusable),
            ColorInfo::Icc(icc) if !icc.is_empty() => Some(Profile::Icc(Cow::Owned(icc.clone()))),
            _ => None,
        });
        icc.or_else(|| {
            colours().find_map(|c| match c {
                ColorInfo::Nclx {
                    primaries, transfer, ..
                } => Some(Profile::Named {
                    primaries: u8::try_from(*primaries).unwrap_or(u8::MAX),
                    transfer: u8::try_from(*transfer).unwrap_or(u8::MAX),
                }),
                _ => None,
            })
        })
    };
    let tiles = file.referenced_items(file.primary_id, b"dimg");
    let found = of(file.primary_id).or_else(|| tiles.first().and_then(|id| of(*id)))?;
    let plain = matches!(
        found,
        Profile::Named {
            primaries: 1 | 2,
            transfer: 1 | 2 | 6 | 13 | 14 | 15
        }
    );
    (!plain).then_some(found)
}

fn has_alpha(file: &HeifFile<'_>) -> bool {
    const KINDS: [&str; 2] = [
        "urn:mpeg:hevc:2015:auxid:1",
        "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
    ];
    let of = |id: ItemId| {
        file.item_properties(id).is_ok_and(|mut all| {
            all.any(|p| matches!(p, Property::AuxiliaryType(kind) if KINDS.contains(&kind.as_str())))
        })
    };
    file.referencing_items(file.primary_id, b"auxl")
        .into_iter()
        .any(of)
}
