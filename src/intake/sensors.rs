//! Main and ultra-wide lenses of common phones: focal length in mm and its 35 mm equivalent as these phones write
//! them. Used only where a photo kept `FocalLength` and `Model` but lost the 35 mm tag.

/// One lens of one phone family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lens {
    /// Start of the EXIF model.
    pub model: &'static str,
    pub focal_mm: f64,
    pub f35_mm: f64,
}

impl Lens {
    /// 35 mm equivalent over real focal length.
    pub fn crop_factor(&self) -> f64 {
        self.f35_mm / self.focal_mm
    }
}

const fn lens(model: &'static str, focal_mm: f64, f35_mm: f64) -> Lens {
    Lens {
        model,
        focal_mm,
        f35_mm,
    }
}

/// A longer model name stands before the shorter one that starts it.
pub const LENSES: &[Lens] = &[
    lens("iPhone 6", 4.15, 29.0),
    lens("iPhone SE (2nd", 3.99, 28.0),
    lens("iPhone SE (3rd", 3.99, 28.0),
    lens("iPhone SE", 4.15, 29.0),
    lens("iPhone 7", 3.99, 28.0),
    lens("iPhone 8", 3.99, 28.0),
    lens("iPhone XR", 4.25, 26.0),
    lens("iPhone XS", 4.25, 26.0),
    lens("iPhone X", 4.0, 28.0),
    lens("iPhone 11", 4.25, 26.0),
    lens("iPhone 11", 1.54, 13.0),
    lens("iPhone 12 Pro Max", 5.1, 26.0),
    lens("iPhone 12", 4.2, 26.0),
    lens("iPhone 12", 1.55, 14.0),
    lens("iPhone 13 Pro", 5.7, 26.0),
    lens("iPhone 13 Pro", 1.57, 14.0),
    lens("iPhone 13", 5.1, 26.0),
    lens("iPhone 13", 1.54, 14.0),
    lens("iPhone 14 Pro", 6.86, 24.0),
    lens("iPhone 14 Pro", 2.22, 14.0),
    lens("iPhone 14", 5.7, 26.0),
    lens("iPhone 14", 1.54, 14.0),
    lens("iPhone 15 Pro", 6.765, 24.0),
    lens("iPhone 15 Pro", 2.22, 13.0),
    lens("iPhone 15", 5.96, 26.0),
    lens("iPhone 15", 1.54, 13.0),
    lens("iPhone 16 Pro", 6.765, 24.0),
    lens("iPhone 16", 5.96, 26.0),
    lens("SM-G930", 4.2, 26.0),
    lens("SM-G935", 4.2, 26.0),
    lens("SM-G950", 4.25, 26.0),
    lens("SM-G955", 4.25, 26.0),
    lens("SM-G960", 4.3, 26.0),
    lens("SM-G965", 4.3, 26.0),
    lens("SM-G973", 4.32, 26.0),
    lens("SM-G975", 4.32, 26.0),
    lens("SM-G991", 5.4, 26.0),
    lens("SM-G996", 5.4, 26.0),
    lens("SM-S901", 5.4, 23.0),
    lens("SM-S911", 5.4, 23.0),
    lens("SM-S918", 6.3, 23.0),
    lens("SM-S921", 5.4, 23.0),
    lens("SM-A525", 5.23, 26.0),
    lens("Pixel 3", 4.44, 28.0),
    lens("Pixel 4", 4.38, 27.0),
    lens("Pixel 5", 4.38, 27.0),
    lens("Pixel 6", 6.81, 25.0),
    lens("Pixel 7", 6.81, 24.0),
    lens("ELE-L", 5.58, 27.0),
    lens("M2101K6G", 5.58, 25.0),
    lens("LE2113", 5.59, 23.0),
    lens("XQ-CC54", 5.11, 24.0),
    lens("moto g power", 4.71, 26.0),
];

/// The lens of `model` whose focal length is within 6 % of `focal_mm`; none for an unknown phone or lens.
pub fn find(model: &str, focal_mm: Option<f64>) -> Option<&'static Lens> {
    let focal_mm = focal_mm?;
    let model = model.trim().to_ascii_lowercase();
    let family = LENSES
        .iter()
        .filter(|l| model.starts_with(&l.model.to_ascii_lowercase()))
        .map(|l| l.model)
        .max_by_key(|m| m.len())?;
    LENSES
        .iter()
        .filter(|l| l.model == family)
        .find(|l| (focal_mm / l.focal_mm).ln().abs() < 0.06)
}
