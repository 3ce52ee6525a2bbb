//! The pictures a person looks at: items over the photo, and the depth map in colour.

mod canvas;
mod depth;

use std::io::Cursor;

use dragunov_models::{Mask, RgbImage};

use crate::contract::{ErrorCode, ScanError};
use canvas::{Canvas, Colour, INK, Panel, WHITE};
pub use depth::depth_picture;

/// Colours told apart also by colour-blind readers (after Okabe and Ito), brightest first.
const PALETTE: [Colour; 8] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 190, 140],
    [240, 228, 66],
    [220, 110, 60],
    [204, 121, 167],
    [110, 140, 255],
    [180, 220, 120],
];

/// One item to draw.
#[derive(Debug, Clone)]
pub struct Labelled<'a> {
    pub mask: &'a Mask,
    pub title: String,
    pub detail: String,
}

/// Masks, labels, dish rims and a scale bar over the photo.
///
/// `rims`: closed lines in pixels of the photo. `px_per_cm`: pixels that a centimetre on the table takes at the middle of the picture, if known.
pub fn draw(
    image: &RgbImage,
    items: &[Labelled<'_>],
    rims: &[Vec<[f64; 2]>],
    px_per_cm: Option<f64>,
) -> RgbImage {
    let mut canvas = Canvas::new(image);
    let unit = (image.width().max(image.height()) as f32 / 512.0).max(0.5);
    for rim in rims {
        draw_rim(&mut canvas, rim, unit);
    }
    for (i, item) in items.iter().enumerate() {
        fill(&mut canvas, item.mask, PALETTE[i % PALETTE.len()]);
    }
    for (i, item) in items.iter().enumerate() {
        outline(&mut canvas, item.mask, PALETTE[i % PALETTE.len()], unit);
    }
    let food = FoodMap::new(image, items);
    let mut taken = Vec::new();
    if let Some(px_per_cm) = px_per_cm.filter(|v| v.is_finite() && *v > 0.0) {
        taken.extend(scale_bar(&mut canvas, px_per_cm as f32, unit));
    }
    for (i, item) in items.iter().enumerate() {
        taken.extend(label(
            &mut canvas,
            item,
            PALETTE[i % PALETTE.len()],
            unit,
            &taken,
            &food,
        ));
    }
    canvas.into_image()
}

/// PNG bytes of a picture.
pub fn png(image: &RgbImage) -> Result<Vec<u8>, ScanError> {
    let mut out = Cursor::new(Vec::new());
    image::write_buffer_with_format(
        &mut out,
        image.as_bytes(),
        image.width() as u32,
        image.height() as u32,
        image::ColorType::Rgb8,
        image::ImageFormat::Png,
    )
    .map_err(|e| ScanError::new(ErrorCode::Internal, "cannot encode the picture").source(e))?;
    Ok(out.into_inner())
}

fn fill(canvas: &mut Canvas, mask: &Mask, colour: Colour) {
    mask.for_each_run(|x, y0, y1| {
        for y in y0..y1 {
            canvas.blend(x as i64, y as i64, colour, 0.34);
        }
    });
}

fn outline(canvas: &mut Canvas, mask: &Mask, colour: Colour, unit: f32) {
    let (w, h) = (mask.width(), mask.height());
    let bits = mask.to_bits();
    let set = |x: i64, y: i64| {
        x >= 0 && y >= 0 && x < w as i64 && y < h as i64 && bits[y as usize * w + x as usize]
    };
    let mut edge = Vec::new();
    mask.for_each_run(|x, y0, y1| {
        for y in y0..y1 {
            let (x, y) = (x as i64, y as i64);
            if !(set(x - 1, y) && set(x + 1, y) && set(x, y - 1) && set(x, y + 1)) {
                edge.push((x as f32 + 0.5, y as f32 + 0.5));
            }
        }
    });
    for &(x, y) in &edge {
        canvas.disc(x, y, 1.5 * unit, WHITE);
    }
    for &(x, y) in &edge {
        canvas.disc(x, y, 0.8 * unit, colour);
    }
}

/// A dashed closed line, dark under light so that it shows on white ware and on dark tables.
fn draw_rim(canvas: &mut Canvas, rim: &[[f64; 2]], unit: f32) {
    let at = |i: usize| {
        let [x, y] = rim[i % rim.len()];
        (x as f32, y as f32)
    };
    for (width, colour) in [(1.5 * unit, INK), (0.8 * unit, WHITE)] {
        for i in (0..rim.len()).filter(|i| i % 3 != 2) {
            canvas.line(at(i), at(i + 1), width, colour);
        }
    }
}

/// A bar of a round number of centimetres in the lower left corner.
fn scale_bar(canvas: &mut Canvas, px_per_cm: f32, unit: f32) -> Option<Panel> {
    let longest = 0.25 * canvas.width as f32 / px_per_cm;
    let cm = [20.0, 10.0, 5.0, 2.0, 1.0]
        .into_iter()
        .find(|&cm| cm <= longest)?;
    let (length, size, pad) = (cm * px_per_cm, 11.0 * unit, 6.0 * unit);
    let text = format!("{cm} cm");
    let width = length.max(canvas.text_width(&text, size)) + 2.0 * pad;
    let height = size * 1.25 + 3.0 * pad;
    let rect = Panel {
        x: pad,
        y: canvas.height as f32 - height - pad,
        w: width,
        h: height,
    };
    canvas.panel(rect, 4.0 * unit, INK, 0.72);
    canvas.text(&text, rect.x + pad, rect.y + 0.6 * pad, size, WHITE);
    let y = rect.y + rect.h - 1.2 * pad;
    let (a, b) = ((rect.x + pad, y), (rect.x + pad + length, y));
    canvas.line(a, b, unit, WHITE);
    for end in [a, b] {
        canvas.line((end.0, y - 3.0 * unit), (end.0, y + 3.0 * unit), unit, WHITE);
    }
    Some(rect)
}

/// Two lines near the item, where they hide no other label and little food; tied to the item by a line if apart.
fn label(
    canvas: &mut Canvas,
    item: &Labelled<'_>,
    colour: Colour,
    unit: f32,
    taken: &[Panel],
    food: &FoodMap,
) -> Option<Panel> {
    let (ax, ay) = anchor(item.mask)?;
    let (big, small, pad) = (12.0 * unit, 9.5 * unit, 4.5 * unit);
    let width = canvas
        .text_width(&item.title, big)
        .max(canvas.text_width(&item.detail, small))
        + 2.4 * pad
        + 2.0 * unit;
    let height = 1.15 * big + 1.15 * small + 2.0 * pad;
    let limit = |v: f32, max: f32| v.clamp(0.0, max.max(0.0));
    let place = |dx: f32, dy: f32| Panel {
        x: limit(ax - width / 2.0 + dx * width, canvas.width as f32 - width),
        y: limit(ay - height / 2.0 + dy * height, canvas.height as f32 - height),
        w: width,
        h: height,
    };
    let cost = |rect: &Panel| {
        let covered = taken.iter().filter(|other| rect.overlaps(other)).count() as f32;
        let away = (rect.x + width / 2.0 - ax).hypot((rect.y + height / 2.0 - ay) * 1.5) / width;
        10.0 * covered + 2.0 * food.share(rect) + 0.5 * away
    };
    let steps: [f32; 11] = [0.0, -0.8, 0.8, -1.6, 1.6, -2.4, 2.4, -3.2, 3.2, -4.0, 4.0];
    let rect = steps
        .iter()
        .flat_map(|&dy| [0.0, -0.4, 0.4, -0.8, 0.8, -1.2, 1.2].map(|dx| place(dx, dy)))
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    let edge = (
        ax.clamp(rect.x, rect.x + rect.w),
        ay.clamp(rect.y, rect.y + rect.h),
    );
    if edge != (ax, ay) {
        canvas.line((ax, ay), edge, 1.6 * unit, INK);
        canvas.line((ax, ay), edge, 0.8 * unit, colour);
        canvas.disc(ax, ay, 3.0 * unit, colour);
    }
    canvas.panel(rect, 4.0 * unit, INK, 0.8);
    canvas.panel(
        Panel {
            w: 3.0 * unit,
            ..rect
        },
        1.5 * unit,
        colour,
        1.0,
    );
    let x = rect.x + 1.4 * pad + 2.0 * unit;
    canvas.text(&item.title, x, rect.y + pad, big, WHITE);
    canvas.text(&item.detail, x, rect.y + pad + 1.15 * big, small, [205, 214, 224]);
    Some(rect)
}

/// The middle of the longest vertical run near the mask's centroid: inside the mask even for crescents.
fn anchor(mask: &Mask) -> Option<(f32, f32)> {
    let (mut sum_x, mut n) = (0.0f64, 0.0f64);
    mask.for_each_run(|x, y0, y1| {
        let len = (y1 - y0) as f64;
        sum_x += x as f64 * len;
        n += len;
    });
    if n == 0.0 {
        return None;
    }
    let (cx, spread) = (sum_x / n, n.sqrt());
    let mut best = (f64::MIN, 0.0, 0.0);
    mask.for_each_run(|x, y0, y1| {
        let score = (y1 - y0) as f64 - (x as f64 - cx).powi(2) / spread;
        if score > best.0 {
            best = (score, x as f64 + 0.5, (y0 + y1) as f64 / 2.0);
        }
    });
    Some((best.1 as f32, best.2 as f32))
}

/// Where food is, in coarse cells: enough to place labels beside it.
struct FoodMap {
    cell: usize,
    columns: usize,
    /// Share of each cell that is food, row-major.
    share: Vec<f32>,
}

impl FoodMap {
    fn new(image: &RgbImage, items: &[Labelled<'_>]) -> Self {
        let cell = (image.width().max(image.height()) / 64).max(1);
        let columns = image.width().div_ceil(cell);
        let mut share = vec![0.0; columns * image.height().div_ceil(cell)];
        let one = 1.0 / (cell * cell) as f32;
        for item in items {
            item.mask.for_each_run(|x, y0, y1| {
                for y in y0..y1 {
                    share[y / cell * columns + x / cell] += one;
                }
            });
        }
        Self { cell, columns, share }
    }

    /// Mean share of food under a panel.
    fn share(&self, panel: &Panel) -> f32 {
        let cells = |from: f32, length: f32| {
            (from as usize / self.cell)..((from + length) as usize).div_ceil(self.cell)
        };
        let (mut sum, mut n) = (0.0, 0.0f32);
        for y in cells(panel.y, panel.h) {
            for x in cells(panel.x, panel.w).take_while(|&x| x < self.columns) {
                sum += self.share.get(y * self.columns + x).copied().unwrap_or_default();
                n += 1.0;
            }
        }
        sum / n.max(1.0)
    }
}
