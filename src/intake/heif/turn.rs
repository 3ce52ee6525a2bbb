//! How a picture is cropped and turned before it is shown: the properties `clap`, `irot` and `imir`.

use heifer::heifer_isobmff::boxes::Property;
use heifer::heifer_isobmff::{HeifFile, ItemId};

use crate::contract::ScanError;
use crate::intake::container::{Crop, foreign, unreadable};

/// A mirror or none (left and right changed), then quarter turns clockwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Turn {
    mirrored: bool,
    quarters: u8,
}

impl Turn {
    fn then_clockwise(self, quarters: u8) -> Self {
        Self {
            quarters: (self.quarters + quarters) % 4,
            ..self
        }
    }

    /// A mirror after a turn is the opposite turn after that mirror.
    fn then_mirrored(self) -> Self {
        Self {
            mirrored: !self.mirrored,
            quarters: (4 - self.quarters) % 4,
        }
    }

    /// As EXIF tag 0x0112 counts.
    fn orientation(self) -> u8 {
        match (self.mirrored, self.quarters) {
            (false, 0) => 1,
            (false, 1) => 6,
            (false, 2) => 3,
            (false, _) => 8,
            (true, 0) => 2,
            (true, 1) => 7,
            (true, 2) => 4,
            (true, _) => 5,
        }
    }
}

/// Orientation of an item, as EXIF counts: its properties in the order they are to be applied in.
///
/// # Errors
/// `image_format` for a picture that is turned before it is cropped.
pub(super) fn of_item(file: &HeifFile<'_>, id: ItemId) -> Result<u8, ScanError> {
    let mut turn = Turn::default();
    for property in file.item_properties(id).map_err(|e| unreadable(&e).source(e))? {
        match property {
            Property::Rotation(anticlockwise) => turn = turn.then_clockwise((4 - anticlockwise % 4) % 4),
            // Top and bottom changed is left and right changed and half a turn.
            Property::Mirror(top_bottom) => {
                turn = turn.then_mirrored().then_clockwise(2 * u8::from(*top_bottom))
            }
            Property::CleanAperture { .. } if turn != Turn::default() => {
                return Err(foreign("it is turned before it is cropped"));
            }
            _ => {}
        }
    }
    Ok(turn.orientation())
}

/// The part of a `width` x `height` picture that is shown, if not all of it (ISO/IEC 14496-12, 12.1.4).
///
/// # Errors
/// `image_unreadable` for one that is empty or reaches out of the picture.
pub(super) fn crop(
    file: &HeifFile<'_>,
    id: ItemId,
    (width, height): (u32, u32),
) -> Result<Option<Crop>, ScanError> {
    let properties = file.item_properties(id).map_err(|e| unreadable(&e).source(e))?;
    let mut aperture = properties.filter_map(|p| match p {
        Property::CleanAperture {
            width,
            height,
            horiz_offset,
            vert_offset,
        } => Some((along(*width, *horiz_offset), along(*height, *vert_offset))),
        _ => None,
    });
    let Some((across, down)) = aperture.next() else {
        return Ok(None);
    };
    let part = across
        .and_then(|part| part.of(width))
        .zip(down.and_then(|part| part.of(height)))
        .map(|((x, width), (y, height))| Crop { x, y, width, height });
    match part {
        Some(part) if aperture.next().is_none() => {
            Ok(Some(part).filter(|part| (part.width, part.height) != (width, height)))
        }
        _ => Err(unreadable("it is cropped to what it does not have")),
    }
}

/// Length of the part and how far its middle lies off the picture's, in pixels.
struct Along {
    length: f64,
    offset: f64,
}

fn along(length: (u32, u32), offset: (i32, u32)) -> Option<Along> {
    (length.1 > 0 && offset.1 > 0).then(|| Along {
        length: f64::from(length.0) / f64::from(length.1),
        offset: f64::from(offset.0) / f64::from(offset.1),
    })
}

impl Along {
    /// First pixel and length in a side of `side` pixels.
    fn of(&self, side: u32) -> Option<(u32, u32)> {
        let start = (self.offset + (f64::from(side) - self.length) / 2.0).round();
        let length = self.length.round();
        let inside = start >= 0.0 && length >= 1.0 && start + length <= f64::from(side);
        inside.then_some((start as u32, length as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::Turn;

    /// Where the corners of a picture stand after each orientation (EXIF 2.3, 4.6.4): top left, top right, bottom left,
    /// bottom right.
    const CORNERS: [[u8; 4]; 8] = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ];

    #[test]
    fn mirrors_and_turns_in_any_order_end_where_the_corners_do() {
        let clockwise = |c: [u8; 4]| [c[2], c[0], c[3], c[1]];
        let mirrored = |c: [u8; 4]| [c[1], c[0], c[3], c[2]];
        for steps in 0..256_u32 {
            let (mut turn, mut corners) = (Turn::default(), CORNERS[0]);
            for step in 0..8 {
                if steps >> step & 1 == 0 {
                    turn = turn.then_clockwise(1);
                    corners = clockwise(corners);
                } else {
                    turn = turn.then_mirrored();
                    corners = mirrored(corners);
                }
                assert_eq!(
                    corners,
                    CORNERS[usize::from(turn.orientation()) - 1],
                    "{steps:08b} {step}"
                );
            }
        }
    }
}
