//! The few EXIF numbers the service needs. GPS, owner, serial numbers and time are not looked at.

use exif::{Exif, In, Reader, Tag, Value};

/// What the file says of its camera. Every field may be absent or wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExifFacts {
    /// Orientation tag, 1 to 8.
    pub orientation: Option<u8>,
    pub make: String,
    pub model: String,
    pub focal_mm: Option<f64>,
    /// 35 mm equivalent focal length, an integer in the file.
    pub f35_mm: Option<f64>,
    /// 1 where absent.
    pub digital_zoom: Option<f64>,
    /// Sensor resolution at capture, pixels per mm.
    pub focal_plane_px_per_mm: Option<f64>,
    /// Size at capture, as stored (before the orientation).
    pub size_at_capture: Option<(u32, u32)>,
    /// Apple MakerNote 0x0008: gravity in device axes, in g.
    pub apple_acceleration: Option<[f64; 3]>,
}

impl ExifFacts {
    /// From a TIFF block (with or without `Exif\0\0`). Damaged entries are skipped.
    pub fn read(block: &[u8]) -> Self {
        let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        let parsed = Reader::new()
            .continue_on_error(true)
            .read_raw(tiff.to_vec())
            .or_else(|e| e.distill_partial_result(|_| ()));
        match parsed {
            Ok(exif) => Self::pick(&exif),
            Err(_) => Self::default(),
        }
    }

    fn pick(exif: &Exif) -> Self {
        let value = |tag| exif.get_field(tag, In::PRIMARY).map(|f| &f.value);
        let uint = |tag| value(tag).and_then(|v| v.get_uint(0));
        let real = |tag| value(tag).and_then(first_real).filter(|x| x.is_finite());
        let positive = |tag| real(tag).filter(|x| *x > 0.0);
        let unit_mm = match uint(Tag::FocalPlaneResolutionUnit) {
            Some(3) => 10.0,
            Some(4) => 1.0,
            Some(5) => 1e-3,
            _ => 25.4,
        };
        Self {
            orientation: uint(Tag::Orientation)
                .and_then(|v| u8::try_from(v).ok())
                .filter(|v| (1..=8).contains(v)),
            make: value(Tag::Make).map(text).unwrap_or_default(),
            model: value(Tag::Model).map(text).unwrap_or_default(),
            focal_mm: positive(Tag::FocalLength).filter(|f| (0.5..2000.0).contains(f)),
            f35_mm: positive(Tag::FocalLengthIn35mmFilm).filter(|f| (6.0..=1000.0).contains(f)),
            digital_zoom: positive(Tag::DigitalZoomRatio).filter(|z| (1.0..=200.0).contains(z)),
            focal_plane_px_per_mm: positive(Tag::FocalPlaneXResolution).map(|r| r / unit_mm),
            size_at_capture: uint(Tag::PixelXDimension)
                .zip(uint(Tag::PixelYDimension))
                .filter(|&(w, h)| w > 0 && h > 0),
            apple_acceleration: value(Tag::MakerNote).and_then(|v| match v {
                Value::Undefined(bytes, _) => apple_acceleration(bytes),
                _ => None,
            }),
        }
    }
}

fn first_real(value: &Value) -> Option<f64> {
    match value {
        Value::Rational(v) => v.first().map(|r| r.to_f64()),
        Value::SRational(v) => v.first().map(|r| r.to_f64()),
        Value::Float(v) => v.first().map(|&x| f64::from(x)),
        Value::Double(v) => v.first().copied(),
        other => other.get_uint(0).map(f64::from),
    }
}

/// Printable ASCII, at most 64 characters.
fn text(value: &Value) -> String {
    match value {
        Value::Ascii(parts) => parts
            .iter()
            .flatten()
            .filter(|b| (0x20..0x7f).contains(*b))
            .take(64)
            .map(|&b| char::from(b))
            .collect::<String>()
            .trim()
            .to_owned(),
        _ => String::new(),
    }
}

/// Tag 0x0008 (three signed rationals) of Apple's MakerNote: `Apple iOS\0`, version, byte order, then an IFD with
/// offsets from the note's start.
fn apple_acceleration(note: &[u8]) -> Option<[f64; 3]> {
    if !note.starts_with(b"Apple iOS\0") {
        return None;
    }
    let big = match note.get(12..14)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let b: [u8; 2] = note.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big {
            u16::from_be_bytes(b)
        } else {
            u16::from_le_bytes(b)
        })
    };
    let i32_at = |at: usize| -> Option<i32> {
        let b: [u8; 4] = note.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big {
            i32::from_be_bytes(b)
        } else {
            i32::from_le_bytes(b)
        })
    };
    let entries = usize::from(u16_at(14)?);
    for i in 0..entries {
        let at = 16 + 12 * i;
        if u16_at(at)? != 0x0008 {
            continue;
        }
        // 10 = SRATIONAL
        if u16_at(at + 2)? != 10 || i32_at(at + 4)? != 3 {
            return None;
        }
        let data = usize::try_from(i32_at(at + 8)?).ok()?;
        let mut v = [0.0; 3];
        for (k, out) in v.iter_mut().enumerate() {
            let num = i32_at(data.checked_add(8 * k)?)?;
            let den = i32_at(data.checked_add(8 * k + 4)?)?;
            if den == 0 {
                return None;
            }
            *out = f64::from(num) / f64::from(den);
        }
        return Some(v);
    }
    None
}
