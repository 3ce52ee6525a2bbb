//! A part of the photo that is looked at enlarged, and the way between its pixels and the photo's.

use dragunov_models::{ImagePx, Mask, Rect, Result, RgbImage};

use crate::identify::Kind;
use crate::perceive::region::Candidate;

/// Pixels of a crop of the photo, counted from the crop's own upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CropPx;

/// Table around the meal on each side, as a share of the meal's longer side. Set on the 245 rendered scenes of development.
const MEAL_MARGIN: f64 = 0.08;
/// Least side of the crop around the meal, as a share of the photo's longer side: 1.9 times enlarged, which is as far as
/// the training of `plate-tiny` goes.
const MIN_MEAL_SIDE_SHARE: f64 = 0.53;
/// A crop that is larger than this share of the photo's longer side shows nothing new.
const MAX_SIDE_SHARE: f64 = 0.95;
/// Side of the crop around one thing, over the thing's longer side, and its least. Set on the rendered scenes of development.
const CLOSE_UP_SIDE_RATIO: f64 = 2.2;
const MIN_CLOSE_UP_SIDE_PX: f64 = 96.0;
/// Names below this confidence do not say where the meal is.
const MIN_MEAL_CONFIDENCE: f64 = 0.5;
/// Masks nearer than this to a side of the crop that is not also the photo's are cut off there.
const CUT_OFF_MARGIN_PX: f64 = 6.0;

/// A rectangle of whole pixels of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CropWindow {
    photo: (usize, usize),
    x0: usize,
    y0: usize,
    width: usize,
    height: usize,
}

impl CropWindow {
    /// A crop, square where the photo allows it, around all foods and dishes; `None` where nothing is gained.
    pub(super) fn around_the_meal(candidates: &[Candidate], photo: (usize, usize)) -> Option<Self> {
        let meal = candidates
            .iter()
            .filter(|c| c.identity.kind == Kind::Food || c.identity.kind.dish().is_some())
            .filter(|c| c.identity.confidence >= MIN_MEAL_CONFIDENCE)
            .filter_map(|c| c.mask.bbox())
            .map(|b| [b.x0, b.y0, b.x1, b.y1])
            .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])?;
        let long = photo.0.max(photo.1) as f64;
        let side = (meal[2] - meal[0]).max(meal[3] - meal[1]) * (1.0 + 2.0 * MEAL_MARGIN);
        let side = side.max(MIN_MEAL_SIDE_SHARE * long).round();
        if side > MAX_SIDE_SHARE * long {
            return None;
        }
        let middle = [0.5 * (meal[0] + meal[2]), 0.5 * (meal[1] + meal[3])];
        Some(Self::square(middle, side, photo))
    }

    /// A crop around one thing, with room for what is beside it; `None` where it would be nearly the whole photo.
    pub(super) fn around(thing: Rect<ImagePx>, photo: (usize, usize)) -> Option<Self> {
        let side = (CLOSE_UP_SIDE_RATIO * thing.width().max(thing.height()))
            .max(MIN_CLOSE_UP_SIDE_PX)
            .round();
        let middle = [0.5 * (thing.x0 + thing.x1), 0.5 * (thing.y0 + thing.y1)];
        (side <= MAX_SIDE_SHARE * photo.0.max(photo.1) as f64).then(|| Self::square(middle, side, photo))
    }

    /// A square crop with its centre as near to this place as the photo allows; cut where the photo is smaller.
    fn square(centre: [f64; 2], side: f64, photo: (usize, usize)) -> Self {
        let span = |c: f64, whole: usize| {
            let length = side.min(whole as f64);
            let start = (c - 0.5 * length).clamp(0.0, whole as f64 - length);
            (start as usize, length as usize)
        };
        let ((x0, width), (y0, height)) = (span(centre[0], photo.0), span(centre[1], photo.1));
        Self {
            photo,
            x0,
            y0,
            width,
            height,
        }
    }

    pub(super) fn whole_of(photo: (usize, usize)) -> Self {
        Self {
            photo,
            x0: 0,
            y0: 0,
            width: photo.0,
            height: photo.1,
        }
    }

    /// # Errors
    /// Of a photo of another size.
    pub(super) fn cut(&self, photo: &RgbImage) -> Result<RgbImage> {
        photo.crop(self.x0, self.y0, self.width, self.height)
    }

    /// A box of the photo in this crop; `None` if it goes on outside.
    pub(super) fn to_crop(self, of_photo: Rect<ImagePx>) -> Option<Rect<CropPx>> {
        let (x, y) = (self.x0 as f64, self.y0 as f64);
        let b = Rect::new(of_photo.x0 - x, of_photo.y0 - y, of_photo.x1 - x, of_photo.y1 - y);
        let fits = b.x0 >= 0.0 && b.y0 >= 0.0 && b.x1 <= self.width as f64 && b.y1 <= self.height as f64;
        fits.then_some(b)
    }

    /// A mask of this crop as one of the photo; `None` for what goes on outside of the crop.
    pub(super) fn to_photo(self, mask: &Mask) -> Option<Mask> {
        let bbox: Rect<CropPx> = mask.bbox()?.scaled_to(1.0, 1.0);
        let cut_off = |low: f64, high: f64, at: usize, length: usize, photo: usize| {
            (at > 0 && low < CUT_OFF_MARGIN_PX)
                || (at + length < photo && high > length as f64 - CUT_OFF_MARGIN_PX)
        };
        if cut_off(bbox.x0, bbox.x1, self.x0, self.width, self.photo.0)
            || cut_off(bbox.y0, bbox.y1, self.y0, self.height, self.photo.1)
        {
            return None;
        }
        Some(mask.placed(self.photo.0, self.photo.1, self.x0, self.y0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::region::tests::candidate;

    fn disc(cx: f64, cy: f64, r: f64) -> Mask {
        Mask::from_fn(400, 300, |x, y| (x as f64 - cx).hypot(y as f64 - cy) < r)
    }

    #[test]
    fn a_small_meal_is_enlarged_and_its_masks_come_back() {
        let plate = candidate(disc(300.0, 200.0, 80.0), Kind::Plate, "plate", 0.9);
        let table = candidate(Mask::from_fn(400, 300, |_, y| y > 5), Kind::Table, "table", 1.0);
        let window = CropWindow::around_the_meal(&[plate.clone(), table], (400, 300)).unwrap();
        assert_eq!((window.width, window.height), (212, 212), "0.53 of the long side");
        assert_eq!((window.x0, window.y0), (188, 88), "moved into the photo");
        let inside = Mask::from_fn(window.width, window.height, |x, y| {
            plate.mask.to_bits()[(y + window.y0) * 400 + x + window.x0]
        });
        assert_eq!(window.to_photo(&inside), Some(plate.mask));
        let cut = Mask::from_fn(window.width, window.height, |x, _| x < 30);
        assert_eq!(window.to_photo(&cut), None, "goes on to the left");
        let border = Mask::from_fn(window.width, window.height, |x, y| x > 150 && y > 150);
        assert!(window.to_photo(&border).is_some(), "ends with the photo");
    }

    #[test]
    fn a_part_around_a_thing_leaves_room_and_is_never_the_whole_photo() {
        let thing = Rect::new(20.0, 100.0, 120.0, 140.0);
        let window = CropWindow::around(thing, (400, 300)).unwrap();
        assert_eq!(
            (window.x0, window.y0, window.width, window.height),
            (0, 10, 220, 220)
        );
        assert_eq!(window.to_crop(thing), Some(Rect::new(20.0, 90.0, 120.0, 130.0)));
        let speck = CropWindow::around(Rect::new(200.0, 150.0, 204.0, 153.0), (400, 300)).unwrap();
        assert_eq!((speck.width, speck.height), (96, 96));
        assert_eq!(
            CropWindow::around(Rect::new(50.0, 50.0, 240.0, 200.0), (400, 300)),
            None
        );
    }

    #[test]
    fn a_photo_full_of_plate_or_without_a_meal_is_left() {
        let plate = candidate(disc(200.0, 150.0, 170.0), Kind::Plate, "plate", 0.9);
        assert_eq!(CropWindow::around_the_meal(&[plate], (400, 300)), None);
        let unsure = candidate(disc(200.0, 150.0, 50.0), Kind::Food, "apple", 0.3);
        assert_eq!(CropWindow::around_the_meal(&[unsure], (400, 300)), None);
    }
}
