//! Embedded ICC profile, or colours by their code points, to sRGB.

use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout, MatrixCoefficients,
    ParsingOptions, TransferCharacteristics, Transform8BitExecutor, TransformOptions,
};

use crate::contract::{Warning, WarningCode};
use crate::intake::container::Profile;

/// Entries of a profile's table of colours; the largest in use have some 300,000.
const MAX_TABLE: usize = 2_000_000;

/// Converts in place. A profile that cannot be used leaves the pixels as they are and is reported.
pub(super) fn to_srgb(
    profile: &Profile<'_>,
    grey: bool,
    picture: &mut image::RgbImage,
    warnings: &mut Vec<Warning>,
) {
    let profile = match read(profile) {
        Ok(p) => p,
        Err(warning) => {
            warnings.push(warning);
            return;
        }
    };
    let (layout, channels) = match (profile.color_space, grey) {
        (DataColorSpace::Rgb, _) => (Layout::Rgb, 3),
        (DataColorSpace::Gray, true) => (Layout::Gray, 1),
        (space, _) => {
            warnings.push(Warning::new(
                WarningCode::IccIgnored,
                format!("a {space:?} colour profile on this photo is of no use; sRGB assumed"),
            ));
            return;
        }
    };
    let made = profile.create_transform_8bit(
        layout,
        &ColorProfile::new_srgb(),
        Layout::Rgb,
        TransformOptions::default(),
    );
    let transform = match made {
        Ok(t) => t,
        Err(e) => {
            warnings.push(Warning::new(
                WarningCode::IccInvalid,
                format!("the colour profile cannot be applied ({e}); sRGB assumed"),
            ));
            return;
        }
    };
    if channels == 3 && is_identity(transform.as_ref()) {
        return;
    }
    let row = picture.width() as usize * 3;
    let mut source = vec![0u8; row / 3 * channels];
    for line in picture.as_mut().chunks_exact_mut(row) {
        if channels == 3 {
            source.copy_from_slice(line);
        } else {
            for (s, px) in source.iter_mut().zip(line.chunks_exact(3)) {
                *s = px[0];
            }
        }
        if let Err(e) = transform.transform(&source, line) {
            warnings.push(Warning::new(
                WarningCode::IccInvalid,
                format!("the colour profile failed ({e})"),
            ));
            return;
        }
    }
}

fn read(profile: &Profile<'_>) -> Result<ColorProfile, Warning> {
    let invalid = |why: String| Warning::new(WarningCode::IccInvalid, format!("{why}; sRGB assumed"));
    let icc = match profile {
        Profile::Icc(icc) => icc,
        Profile::Unusable => return Err(invalid("the colour profile is too large or damaged".to_owned())),
        Profile::Named { primaries, transfer } => return named(*primaries, *transfer),
    };
    let options = ParsingOptions {
        max_allowed_clut_size: MAX_TABLE,
        ..ParsingOptions::default()
    };
    ColorProfile::new_from_slice_with_options(icc, options)
        .map_err(|e| invalid(format!("the colour profile cannot be read ({e})")))
}

/// From code points of ITU-T H.273. The curves of video are shown as sRGB's everywhere and taken for it here.
fn named(primaries: u8, transfer: u8) -> Result<ColorProfile, Warning> {
    let ignored = |why: &str| {
        Warning::new(
            WarningCode::IccIgnored,
            format!("the photo's colours ({primaries}/{transfer} of H.273) {why}; sRGB assumed"),
        )
    };
    let transfer = match transfer {
        1 | 2 | 6 | 13 | 14 | 15 => TransferCharacteristics::Srgb,
        16 | 18 => return Err(ignored("are of high dynamic range, which is not mapped")),
        other => TransferCharacteristics::try_from(other).map_err(|_| ignored("are unknown"))?,
    };
    let color_primaries = CicpColorPrimaries::try_from(primaries).map_err(|_| ignored("are unknown"))?;
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::Bt709,
        full_range: true,
    });
    // It has no curves where the code points are of no colours that could be computed.
    if profile.red_trc.is_none() {
        return Err(ignored("are unknown"));
    }
    Ok(profile)
}

/// True if no colour of a 6 x 6 x 6 grid moves by more than one step: the profile is sRGB, and leaving the pixels
/// alone avoids rounding them.
fn is_identity(transform: &Transform8BitExecutor) -> bool {
    let steps = [0u8, 51, 102, 153, 204, 255];
    let mut grid = Vec::with_capacity(6 * 6 * 6 * 3);
    for r in steps {
        for g in steps {
            for b in steps {
                grid.extend([r, g, b]);
            }
        }
    }
    let mut out = vec![0u8; grid.len()];
    transform.transform(&grid, &mut out).is_ok() && grid.iter().zip(&out).all(|(a, b)| a.abs_diff(*b) <= 1)
}
