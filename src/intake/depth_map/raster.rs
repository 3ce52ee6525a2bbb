//! The raster of a depth map: reading, turning, seeing it from the photo's camera.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::Pinhole;
use crate::contract::bounds::DEPTH_MAP_SIDE;
use crate::contract::depth_map::DepthMap;
use crate::contract::{DepthFormat, DepthMapUnit, ScanError};
use crate::intake::validate::invalid;

/// For a PNG decoder's rows.
const PNG_BUFFERS: usize = 1 << 20;
/// Neighbours further apart than this, as a ratio, are not of one surface: nothing lies between them.
const EDGE: f32 = 1.05;

/// Two values of one surface are no further apart than this many standard deviations of one.
const SAME_SURFACE_SIGMAS: f32 = 4.2;
/// A Gaussian of one cell, by distance in cells.
const SMOOTHING: [f32; 3] = [1.0, 0.606_53, 0.135_34];

/// Row by row; 0 where nothing is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raster {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

/// # Errors
/// `invalid_field` for bytes that are not such a raster.
pub(super) fn decode(map: &DepthMap, data: &[u8]) -> Result<Raster, ScanError> {
    let raw = |bytes: usize, read: fn(&[u8]) -> f32| {
        let (Some(width), Some(height)) = (map.width, map.height) else {
            return Err(invalid(
                "depth.width",
                format_args!("is needed with {}, as is the height", map.format),
            ));
        };
        if data.len() != width * height * bytes {
            return Err(invalid(
                "depth.data",
                format_args!(
                    "{} bytes are not {width} x {height} values of {bytes} bytes",
                    data.len()
                ),
            ));
        }
        let values = data.chunks_exact(bytes).map(read).collect();
        Ok(Raster {
            width,
            height,
            values,
        })
    };
    match map.format {
        DepthFormat::F32 => raw(4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        DepthFormat::F16 => raw(2, |b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()),
        DepthFormat::U16 => raw(2, |b| f32::from(u16::from_le_bytes([b[0], b[1]]))),
        DepthFormat::Png16 => {
            let (width, height, bytes) = grey_png(data, BitDepth::Sixteen, "depth.data")?;
            for (field, said, is) in [
                ("depth.width", map.width, width),
                ("depth.height", map.height, height),
            ] {
                if said.is_some_and(|said| said != is) {
                    return Err(invalid(field, format_args!("the PNG has {is}")));
                }
            }
            let values = bytes
                .chunks_exact(2)
                .map(|b| f32::from(u16::from_be_bytes([b[0], b[1]])))
                .collect();
            Ok(Raster {
                width,
                height,
                values,
            })
        }
    }
}

/// One byte a value of a raster of the same size: bare, or a grey PNG of 8 bits.
///
/// # Errors
/// `invalid_field` for another size.
pub(super) fn bytes_of(data: &[u8], raster: &Raster) -> Result<Vec<u8>, ScanError> {
    let (width, height, bytes) = if data.starts_with(b"\x89PNG") {
        grey_png(data, BitDepth::Eight, "depth.confidence")?
    } else {
        (raster.width, raster.height, data.to_vec())
    };
    if (width, height) != (raster.width, raster.height) || bytes.len() != width * height {
        return Err(invalid(
            "depth.confidence",
            format_args!(
                "{} values are not the {} x {} of the map",
                bytes.len(),
                raster.width,
                raster.height
            ),
        ));
    }
    Ok(bytes)
}

fn grey_png(data: &[u8], depth: BitDepth, field: &str) -> Result<(usize, usize, Vec<u8>), ScanError> {
    let damaged = |e: png::DecodingError| invalid(field, "it is no PNG, or a damaged one").source(e);
    let mut decoder = Decoder::new_with_limits(Cursor::new(data), png::Limits { bytes: PNG_BUFFERS });
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let info = (reader.info().color_type, reader.info().bit_depth);
    if info != (ColorType::Grayscale, depth) {
        let bits = depth as u8;
        return Err(invalid(
            field,
            format_args!("the PNG must be grey with {bits} bits; it is {info:?}"),
        ));
    }
    if !DEPTH_MAP_SIDE.contains(&width) || !DEPTH_MAP_SIDE.contains(&height) {
        return Err(invalid(
            field,
            format_args!("a PNG of {width} x {height} pixels is no depth map"),
        ));
    }
    let mut bytes = vec![0; width * height * (depth as usize / 8)];
    reader.next_frame(&mut bytes).map_err(damaged)?;
    Ok((width, height, bytes))
}

impl Raster {
    pub(super) fn convert_to_metres(&mut self, unit: DepthMapUnit) {
        for v in &mut self.values {
            let metres = match unit {
                DepthMapUnit::Metres => *v,
                DepthMapUnit::Millimetres => *v * 1e-3,
                DepthMapUnit::InverseMetres => 1.0 / *v,
            };
            *v = if metres.is_finite() && metres > 0.0 {
                metres
            } else {
                0.0
            };
        }
    }

    pub(super) fn keep_confident(&mut self, confidence: &[u8], least: u8) {
        for (v, sure) in self.values.iter_mut().zip(confidence) {
            if *sure < least {
                *v = 0.0;
            }
        }
    }

    pub(super) fn known_share(&self) -> f64 {
        let known = self.values.iter().filter(|v| **v > 0.0).count();
        known as f64 / self.values.len().max(1) as f64
    }

    /// As the EXIF orientation turns a picture.
    pub(super) fn upright(self, orientation: u8) -> Self {
        let (w, h) = (self.width, self.height);
        let (width, height) = if orientation >= 5 { (h, w) } else { (w, h) };
        let from = |x: usize, y: usize| match orientation {
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, h - 1 - x),
            7 => (w - 1 - y, h - 1 - x),
            8 => (w - 1 - y, x),
            _ => (x, y),
        };
        let values = (0..width * height)
            .map(|i| {
                let (x, y) = from(i % width, i / width);
                self.values[y * w + x]
            })
            .collect();
        Self {
            width,
            height,
            values,
        }
    }

    /// With the mean of the cells around each that are of its surface: those no farther off than the noise explains.
    pub(super) fn smoothed(self, sigma_rel: f64) -> Self {
        let (width, height) = (self.width, self.height);
        let most = SAME_SURFACE_SIGMAS * sigma_rel as f32;
        let mut values = vec![0.0; self.values.len()];
        for y in 0..height {
            for x in 0..width {
                let z = self.values[y * width + x];
                let (mut sum, mut weight) = (0.0, 0.0);
                for ny in y.saturating_sub(2)..(y + 3).min(height) {
                    for nx in x.saturating_sub(2)..(x + 3).min(width) {
                        let near = self.values[ny * width + nx];
                        if near > 0.0 && (near - z).abs() <= most * z {
                            let w = SMOOTHING[ny.abs_diff(y)] * SMOOTHING[nx.abs_diff(x)];
                            sum += w * near;
                            weight += w;
                        }
                    }
                }
                values[y * width + x] = if weight > 0.0 { sum / weight } else { z };
            }
        }
        Self {
            width,
            height,
            values,
        }
    }

    /// The same distances over the photo, at the map's own fineness; 0 outside the map. Both cameras stand at one place and look one way.
    pub(super) fn seen_from(&self, k: Pinhole, photo: (usize, usize), focal_px: f64) -> Self {
        let step = focal_px / (0.5 * (k.fx + k.fy));
        let cells = |side: usize| ((side as f64 / step).round() as usize).clamp(1, *DEPTH_MAP_SIDE.end());
        let (width, height) = (cells(photo.0), cells(photo.1));
        let (pw, ph) = (photo.0 as f64, photo.1 as f64);
        let (sx, sy) = (pw / width as f64, ph / height as f64);
        let values = (0..width * height)
            .map(|i| {
                let (u, v) = (((i % width) as f64 + 0.5) * sx, ((i / width) as f64 + 0.5) * sy);
                let ray = [(u - 0.5 * pw) / focal_px, (v - 0.5 * ph) / focal_px];
                self.at(k.fx * ray[0] + k.cx, k.fy * ray[1] + k.cy)
            })
            .collect();
        Self {
            width,
            height,
            values,
        }
    }

    /// Between the four values around a position; the nearest one where they are of different surfaces or not all known.
    fn at(&self, x: f64, y: f64) -> f32 {
        let inside = (0.0..self.width as f64).contains(&x) && (0.0..self.height as f64).contains(&y);
        if !inside {
            return 0.0;
        }
        let (px, py) = (
            (x - 0.5).clamp(0.0, (self.width - 1) as f64),
            (y - 0.5).clamp(0.0, (self.height - 1) as f64),
        );
        let (x0, y0) = (px as usize, py as usize);
        let (x1, y1) = ((x0 + 1).min(self.width - 1), (y0 + 1).min(self.height - 1));
        let (tx, ty) = ((px - x0 as f64) as f32, (py - y0 as f64) as f32);
        let cell = |x: usize, y: usize| self.values[y * self.width + x];
        let four = [cell(x0, y0), cell(x1, y0), cell(x0, y1), cell(x1, y1)];
        let (near, far) = four
            .iter()
            .fold((f32::INFINITY, 0.0f32), |(n, f), v| (n.min(*v), f.max(*v)));
        if near <= 0.0 || far > EDGE * near {
            return cell(if tx < 0.5 { x0 } else { x1 }, if ty < 0.5 { y0 } else { y1 });
        }
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        mix(mix(four[0], four[1], tx), mix(four[2], four[3], tx), ty)
    }
}
