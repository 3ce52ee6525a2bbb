//! Chroma upsampling and colour conversion of libjpeg (`jdsample.c` with fancy upsampling, `jdcolor.c`).

use super::{Colours, Component, Picture};

impl Component {
    fn row(&self, y: usize) -> &[u8] {
        let start = y.min(self.height - 1) * self.stride();
        &self.plane[start..start + self.width]
    }

    /// Row `y` of the picture at full size; `out` holds at least `width * h_factor` samples.
    fn upsampled(&self, y: usize, (h_factor, v_factor): (usize, usize), out: &mut [u8]) {
        let near = self.row(y / v_factor);
        let fancy = self.width > 2;
        match (h_factor, v_factor) {
            (1, 1) => out[..self.width].copy_from_slice(near),
            (2, 1) if fancy => wider(near, out, 2),
            (1, 2) => {
                // Nearest rows above and below in turn, three parts to one.
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, &a), &b) in out.iter_mut().zip(near).zip(self.beside(y)) {
                    *out = ((3 * u32::from(a) + u32::from(b) + bias) >> 2) as u8;
                }
            }
            (2, 2) if fancy => {
                let sums: Vec<u32> = near
                    .iter()
                    .zip(self.beside(y))
                    .map(|(&a, &b)| 3 * u32::from(a) + u32::from(b))
                    .collect();
                wider(&sums, out, 4);
            }
            _ => {
                for (out, &v) in out.chunks_mut(h_factor).zip(near) {
                    out.fill(v);
                }
            }
        }
    }

    /// The row on the other side of output row `y`, the edge repeated.
    fn beside(&self, y: usize) -> &[u8] {
        let near = y / 2;
        self.row(if y.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            near + 1
        })
    }
}

/// Doubles a row by the triangle filter: three parts of the nearer sample, one of the farther. `bits` is how far the
/// sums are scaled up; the rounding alternates so that it does not drift.
fn wider<T: Copy + Into<u32>>(row: &[T], out: &mut [u8], bits: u32) {
    let (left, right) = if bits == 2 { (1, 2) } else { (8, 7) };
    let last = row.len() - 1;
    for (i, pair) in out.chunks_exact_mut(2).take(row.len()).enumerate() {
        let v: u32 = row[i].into();
        let before: u32 = if i == 0 { v } else { row[i - 1].into() };
        let after: u32 = if i == last { v } else { row[i + 1].into() };
        pair[0] = ((3 * v + before + left) >> bits) as u8;
        pair[1] = ((3 * v + after + right) >> bits) as u8;
    }
}

/// All components to interleaved grey or RGB bytes.
pub(super) fn picture(
    components: &[Component],
    (width, height): (usize, usize),
    (h_max, v_max): (usize, usize),
    colours: Colours,
) -> Picture {
    let channels = components.len().min(3);
    let rgb = |values| match colours {
        Colours::Plain => values,
        Colours::Coded => to_rgb(values),
    };
    let mut data = vec![0; width * height * channels];
    let mut rows = vec![vec![0u8; (width.div_ceil(8 * h_max) + 1) * 8 * h_max]; components.len()];
    for (y, out) in data.chunks_exact_mut(width * channels).enumerate() {
        for (component, row) in components.iter().zip(&mut rows) {
            let factors = (h_max / component.h, v_max / component.v);
            component.upsampled(y, factors, row);
        }
        match rows.as_slice() {
            [grey] => out.copy_from_slice(&grey[..width]),
            [a, b, c] => {
                for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&rgb([a[x], b[x], c[x]]));
                }
            }
            [a, b, c, k] => {
                for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                    let inks = match colours {
                        // Stored inverted, as Adobe's programs do and Pillow takes for granted, marker or not.
                        Colours::Plain => [a[x], b[x], c[x]].map(|v| 255 - v),
                        Colours::Coded => to_rgb([a[x], b[x], c[x]]),
                    };
                    pixel.copy_from_slice(&inks.map(|ink| on_black(ink, k[x])));
                }
            }
            _ => {}
        }
    }
    Picture {
        width,
        height,
        channels,
        data,
    }
}

/// Pillow's `cmyk2rgb` for one ink, `light` being what black lets through: 255 less the black ink.
fn on_black(ink: u8, light: u8) -> u8 {
    let product = u32::from(ink) * u32::from(light) + 128;
    light.saturating_sub((((product >> 8) + product) >> 8) as u8)
}

/// JFIF's YCbCr with libjpeg's 16-bit constants.
fn to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + HALF) >> 16);
    let blue = y + ((116130 * cb + HALF) >> 16);
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}
