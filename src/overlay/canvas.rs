//! A picture one can blend pixels, discs, lines and text into.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use dragunov_models::RgbImage;

pub(super) type Colour = [u8; 3];

pub(super) const WHITE: Colour = [255, 255, 255];
pub(super) const INK: Colour = [18, 22, 28];

pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    data: Vec<u8>,
    font: FontRef<'static>,
}

impl Canvas {
    pub(super) fn new(image: &RgbImage) -> Self {
        let font = FontRef::try_from_slice(include_bytes!("DejaVuSans-Bold.subset.ttf"))
            .expect("the compiled-in font is a valid TrueType file");
        Self {
            width: image.width(),
            height: image.height(),
            data: image.as_bytes().to_vec(),
            font,
        }
    }

    pub(super) fn into_image(self) -> RgbImage {
        RgbImage::new(self.width, self.height, self.data).expect("the size has not changed")
    }

    /// Mixes `colour` in with weight `alpha`; outside the picture nothing happens.
    pub(super) fn blend(&mut self, x: i64, y: i64, colour: Colour, alpha: f32) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        for (old, new) in self.data[at..at + 3].iter_mut().zip(colour) {
            *old = (f32::from(*old) + (f32::from(new) - f32::from(*old)) * alpha).round() as u8;
        }
    }

    /// Anti-aliased disc.
    pub(super) fn disc(&mut self, cx: f32, cy: f32, radius: f32, colour: Colour) {
        let reach = radius.ceil() as i64 + 1;
        for y in cy as i64 - reach..=cy as i64 + reach {
            for x in cx as i64 - reach..=cx as i64 + reach {
                let d = ((x as f32 + 0.5 - cx).powi(2) + (y as f32 + 0.5 - cy).powi(2)).sqrt();
                let cover = (radius + 0.5 - d).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(x, y, colour, cover);
                }
            }
        }
    }

    pub(super) fn line(&mut self, from: (f32, f32), to: (f32, f32), radius: f32, colour: Colour) {
        let length = ((to.0 - from.0).powi(2) + (to.1 - from.1).powi(2)).sqrt();
        let steps = (length / (0.6 * radius).max(0.5)).ceil().max(1.0);
        for i in 0..=steps as usize {
            let t = i as f32 / steps;
            self.disc(
                from.0 + (to.0 - from.0) * t,
                from.1 + (to.1 - from.1) * t,
                radius,
                colour,
            );
        }
    }

    /// Filled rectangle with rounded corners.
    pub(super) fn panel(&mut self, rect: Panel, radius: f32, colour: Colour, alpha: f32) {
        for y in rect.y as i64..(rect.y + rect.h).ceil() as i64 {
            for x in rect.x as i64..(rect.x + rect.w).ceil() as i64 {
                let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
                let dx = (rect.x + radius - px)
                    .max(px - (rect.x + rect.w - radius))
                    .max(0.0);
                let dy = (rect.y + radius - py)
                    .max(py - (rect.y + rect.h - radius))
                    .max(0.0);
                let cover = (radius + 0.5 - (dx * dx + dy * dy).sqrt()).clamp(0.0, 1.0);
                self.blend(x, y, colour, alpha * cover);
            }
        }
    }

    pub(super) fn text_width(&self, text: &str, size: f32) -> f32 {
        let font = self.font.as_scaled(PxScale::from(size));
        text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum()
    }

    /// Draws one line of text; `y` is the top of the line.
    pub(super) fn text(&mut self, text: &str, x: f32, y: f32, size: f32, colour: Colour) {
        let scale = PxScale::from(size);
        let (mut pen, baseline) = (x, y + self.font.as_scaled(scale).ascent());
        for c in text.chars() {
            let id = self.font.glyph_id(c);
            let glyph = id.with_scale_and_position(scale, point(pen, baseline));
            pen += self.font.as_scaled(scale).h_advance(id);
            if let Some(outline) = self.font.outline_glyph(glyph) {
                let origin = outline.px_bounds().min;
                let mut pixels = Vec::new();
                outline.draw(|gx, gy, cover| pixels.push((gx, gy, cover)));
                for (gx, gy, cover) in pixels {
                    let (px, py) = (origin.x as i64 + i64::from(gx), origin.y as i64 + i64::from(gy));
                    self.blend(px, py, colour, cover.min(1.0));
                }
            }
        }
    }
}

/// Rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Panel {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) w: f32,
    pub(super) h: f32,
}

impl Panel {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.w
            && other.x < self.x + self.w
            && self.y < other.y + other.h
            && other.y < self.y + self.h
    }
}
