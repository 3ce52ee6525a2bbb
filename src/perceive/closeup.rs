//! The part of the photo where the meal is, to be looked at enlarged.

use dragunov_models::{ImagePx, Mask, Rect, Result, RgbImage};

use super::resolve::Candidate;
use crate::identify::Kind;

/// Table around the meal, as a share of the meal's longer side.
const MARGIN: f64 = 0.08;
/// A part of the photo smaller than this share of its longer side would lack context.
const SMALLEST: f64 = 0.53;
/// A part that is nearly the whole photo shows nothing new.
const LARGEST: f64 = 0.95;
/// Side of the part around one thing, over the thing's longer side, and its least.
const ROOM: f64 = 2.2;
const LEAST_PX: f64 = 96.0;
/// Names below this do not say where the meal is.
const SURE: f64 = 0.5;
/// Masks nearer than this to a side of the part, in pixels, are cut off there.
const EDGE: f64 = 6.0;

/// A rectangle of pixels of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    photo: (usize, usize),
    x0: usize,
    y0: usize,
    width: usize,
    height: usize,
}

impl Part {
    /// A part, square where the photo allows it, around all foods and dishes; `None` where nothing is gained.
    pub(super) fn around_the_meal(candidates: &[Candidate], photo: (usize, usize)) -> Option<Self> {
        let meal = candidates
            .iter()
            .filter(|c| c.identity.kind == Kind::Food || c.identity.kind.dish().is_some())
            .filter(|c| c.identity.confidence >= SURE)
            .filter_map(|c| c.mask.bbox())
            .map(|b| [b.x0, b.y0, b.x1, b.y1])
            .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])?;
        let long = photo.0.max(photo.1) as f64;
        let side = (meal[2] - meal[0]).max(meal[3] - meal[1]) * (1.0 + 2.0 * MARGIN);
        let side = side.max(SMALLEST * long).round();
        if side > LARGEST * long {
            return None;
        }
        let middle = [0.5 * (meal[0] + meal[2]), 0.5 * (meal[1] + meal[3])];
        Some(Self::square(middle, side, photo))
    }

    /// A part around one thing, with room for what is beside it; `None` where it would be nearly the whole photo.
    pub(super) fn around(thing: Rect<ImagePx>, photo: (usize, usize)) -> Option<Self> {
        let side = (ROOM * thing.width().max(thing.height())).max(LEAST_PX).round();
        let middle = [0.5 * (thing.x0 + thing.x1), 0.5 * (thing.y0 + thing.y1)];
        (side <= LARGEST * photo.0.max(photo.1) as f64).then(|| Self::square(middle, side, photo))
    }

    /// A square part with its centre as near to this place as the photo allows; cut where the photo is smaller.
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

    /// A box of the photo in this part's frame; `None` if it goes on outside.
    pub(super) fn inside(&self, of_photo: Rect<ImagePx>) -> Option<Rect<ImagePx>> {
        let (x, y) = (self.x0 as f64, self.y0 as f64);
        let b = Rect::new(of_photo.x0 - x, of_photo.y0 - y, of_photo.x1 - x, of_photo.y1 - y);
        let fits = b.x0 >= 0.0 && b.y0 >= 0.0 && b.x1 <= self.width as f64 && b.y1 <= self.height as f64;
        fits.then_some(b)
    }

    /// # Errors
    /// Of a photo of another size.
    pub(super) fn cut(&self, photo: &RgbImage) -> Result<RgbImage> {
        photo.crop(self.x0, self.y0, self.width, self.height)
    }

    /// A mask of this part as one of the photo; `None` for what goes on outside of the part.
    pub(super) fn placed(&self, mask: &Mask) -> Option<Mask> {
        let bbox = mask.bbox()?;
        let cut_off = |low: f64, high: f64, at: usize, length: usize, photo: usize| {
            (at > 0 && low < EDGE) || (at + length < photo && high > length as f64 - EDGE)
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
    use crate::perceive::resolve::tests::seen;

    fn disc(cx: f64, cy: f64, r: f64) -> Mask {
        Mask::from_fn(400, 300, |x, y| (x as f64 - cx).hypot(y as f64 - cy) < r)
    }

    #[test]
    fn a_small_meal_is_enlarged_and_its_masks_come_back() {
        let plate = seen(disc(300.0, 200.0, 80.0), Kind::Plate, "plate", 0.9);
        let table = seen(Mask::from_fn(400, 300, |_, y| y > 5), Kind::Table, "table", 1.0);
        let part = Part::around_the_meal(&[plate.clone(), table], (400, 300)).unwrap();
        assert_eq!((part.width, part.height), (212, 212), "0.53 of the long side");
        assert_eq!((part.x0, part.y0), (188, 88), "moved into the photo");
        let inside = Mask::from_fn(part.width, part.height, |x, y| {
            plate.mask.to_bits()[(y + part.y0) * 400 + x + part.x0]
        });
        assert_eq!(part.placed(&inside), Some(plate.mask));
        let cut = Mask::from_fn(part.width, part.height, |x, _| x < 30);
        assert_eq!(part.placed(&cut), None, "goes on to the left");
        let border = Mask::from_fn(part.width, part.height, |x, y| x > 150 && y > 150);
        assert!(part.placed(&border).is_some(), "ends with the photo");
    }

    #[test]
    fn a_part_around_a_thing_leaves_room_and_is_never_the_whole_photo() {
        let thing = Rect::new(20.0, 100.0, 120.0, 140.0);
        let part = Part::around(thing, (400, 300)).unwrap();
        assert_eq!((part.x0, part.y0, part.width, part.height), (0, 10, 220, 220));
        assert_eq!(part.inside(thing), Some(Rect::new(20.0, 90.0, 120.0, 130.0)));
        let speck = Part::around(Rect::new(200.0, 150.0, 204.0, 153.0), (400, 300)).unwrap();
        assert_eq!((speck.width, speck.height), (96, 96));
        assert_eq!(
            Part::around(Rect::new(50.0, 50.0, 240.0, 200.0), (400, 300)),
            None
        );
    }

    #[test]
    fn a_photo_full_of_plate_or_without_a_meal_is_left() {
        let plate = seen(disc(200.0, 150.0, 170.0), Kind::Plate, "plate", 0.9);
        assert_eq!(Part::around_the_meal(&[plate], (400, 300)), None);
        let unsure = seen(disc(200.0, 150.0, 50.0), Kind::Food, "apple", 0.3);
        assert_eq!(Part::around_the_meal(&[unsure], (400, 300)), None);
    }
}
