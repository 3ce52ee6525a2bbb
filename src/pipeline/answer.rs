//! From measures to the contract's answer and to the overlay picture.

use base64::Engine as _;
use dragunov_models::Mask;

use super::measure::MeasuredScene;
use super::working::Working;
use crate::contract::recompute::Origins;
use crate::contract::request::MaskFormat;
use crate::contract::result::{
    CameraInfo, ImageInfo, Item, MaskData, Models, ScanResult, ScanStatus, Totals,
};
use crate::contract::{ErrorCode, ItemFlag, ScanError, ScanRequest, Warning, flag};
use crate::food_store::Snapshot;
use crate::geometry::View;
use crate::nutrition::{ItemInput, MatchKind, Nourished, VlmGrams, Volume, nourish};
use crate::overlay::{self, Labelled};

/// More energy than this is a failed measurement. From 4,000 on the answer warns.
const IMPOSSIBLE_KCAL: f64 = 10_000.0;

/// Weighs the items and puts everything into the result.
pub(super) fn assemble(
    work: &Working,
    request: &ScanRequest,
    scene: &MeasuredScene,
    foods: &Snapshot,
    models: Models,
    mut warnings: Vec<Warning>,
) -> Result<ScanResult, ScanError> {
    let inputs: Vec<ItemInput> = scene
        .regions
        .foods
        .iter()
        .zip(&scene.geometry.items)
        .map(|(food, measured)| ItemInput {
            label: food.identity.label.clone(),
            confidence: food.identity.confidence,
            alternatives: food.identity.alternatives.clone(),
            volume: Volume {
                p50_cm3: measured.volume_cm3.p50,
                sigma_shared_ln: measured.volume_sigma_ln.shared,
                sigma_own_ln: measured.volume_sigma_ln.own,
            },
            form: None,
            vlm: food.identity.grams.map(|grams| VlmGrams { grams }),
            told_g: None,
            portion: 1.0,
            answers: Vec::new(),
        })
        .collect();
    let meal = nourish(&foods.table, &inputs)
        .map_err(|e| ScanError::new(ErrorCode::Internal, "an item could not be weighed").source(e))?;
    let kcal = meal.totals.kcal.p50;
    if kcal > IMPOSSIBLE_KCAL {
        return Err(ScanError::new(
            ErrorCode::Implausible,
            format!("what was measured cannot be: {kcal:.0} kcal are more than a table of meals"),
        )
        .next_step("take the photo again with the whole plate in view; check the pitch, and the diameter or height that was sent"));
    }
    warnings.extend(scene.geometry.warnings.iter().cloned());
    warnings.extend(meal.warnings);
    let items = (0..inputs.len())
        .map(|i| item(work, request, scene, i, &meal.items[i]))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ScanResult {
        scan_id: request.scan_id.clone(),
        user_id: request.user_id.clone(),
        status: ScanStatus::PendingConfirmation,
        image: ImageInfo {
            width: work.full.0,
            height: work.full.1,
            exif_orientation: work.photo.orientation,
        },
        reshoot_hint: reshoot_hint(scene, &items, &meal.totals),
        items,
        totals: meal.totals,
        camera: camera(work, scene),
        scale: scene.geometry.scale.clone(),
        plane_fit: scene.geometry.plane_fit.clone(),
        models,
        foods: foods.info.clone(),
        timings_ms: Default::default(),
        warnings,
        overlay: None,
        depth: None,
        edits: Vec::new(),
        original: None,
    })
}

fn item(
    work: &Working,
    request: &ScanRequest,
    scene: &MeasuredScene,
    index: usize,
    weighed: &Nourished,
) -> Result<Item, ScanError> {
    let (food, measured) = (&scene.regions.foods[index], &scene.geometry.items[index]);
    let k = work.enlarge();
    let bbox = food
        .mask
        .bbox()
        .map_or([0.0; 4], |b| [b.x0 * k, b.y0 * k, b.x1 * k, b.y1 * k]);
    Ok(Item {
        id: format!("item_{}", index + 1),
        label: food.identity.label.clone(),
        food_id: weighed.food_id.as_ref().map(ToString::to_string),
        confidence: food.identity.confidence,
        alternatives: weighed.alternatives.clone(),
        bbox,
        mask: mask_data(&work.full_mask(&food.mask), request.options.masks)?,
        volume_cm3: measured.volume_cm3,
        volume_sigma_ln: measured.volume_sigma_ln,
        volume_bounds: measured.bounds,
        mean_height_cm: measured.mean_height_cm,
        footprint_cm2: measured.footprint_cm2,
        density_g_cm3: weighed.density_g_cm3,
        mass_g: weighed.mass_g,
        kcal: weighed.kcal,
        protein_g: weighed.protein_g,
        carbs_g: weighed.carbs_g,
        fat_g: weighed.fat_g,
        details: weighed.details,
        origins: Origins::of_scan(weighed.match_kind == MatchKind::Unknown),
        note: None,
        pieces: food.pieces,
        flags: flag::distinct(measured.flags.iter().chain(&weighed.flags).copied()),
        questions: weighed.questions.clone(),
    })
}

fn mask_data(mask: &Mask, format: MaskFormat) -> Result<Option<MaskData>, ScanError> {
    Ok(match format {
        MaskFormat::None => None,
        MaskFormat::Rle => Some(MaskData::Rle {
            size: [mask.height(), mask.width()],
            counts: mask.to_coco_string(),
        }),
        MaskFormat::Png => {
            let grey: Vec<u8> = mask
                .to_bits()
                .into_iter()
                .map(|b| if b { 255 } else { 0 })
                .collect();
            let mut png = std::io::Cursor::new(Vec::new());
            image::write_buffer_with_format(
                &mut png,
                &grey,
                mask.width() as u32,
                mask.height() as u32,
                image::ColorType::L8,
                image::ImageFormat::Png,
            )
            .map_err(|e| ScanError::new(ErrorCode::Internal, "cannot encode a mask").source(e))?;
            let data = base64::engine::general_purpose::STANDARD.encode(png.into_inner());
            Some(MaskData::Png { data })
        }
    })
}

fn camera(work: &Working, scene: &MeasuredScene) -> CameraInfo {
    let fit = &scene.geometry.camera;
    CameraInfo {
        focal_px: fit.camera.focal_px * work.enlarge(),
        fov_long_deg: fit.camera.fov_long_deg(),
        fov_source: work.photo.camera.source,
        fov_sigma_ln: work.photo.camera.sigma_ln,
        tilt_deg: fit.gravity.tilt_deg(),
        roll_deg: fit.gravity.roll_deg(),
        tilt_source: fit.tilt_source.clone(),
        gravity_source: work.photo.gravity.map(|g| g.source),
        tilt_from_circle_deg: fit.tilt_from_circle_deg,
    }
}

/// The one thing about the photo that would narrow the answer most.
fn reshoot_hint(scene: &MeasuredScene, items: &[Item], totals: &Totals) -> Option<String> {
    let tilt = scene.geometry.camera.gravity.tilt_deg();
    let cut = items.iter().any(|i| i.flags.contains(&ItemFlag::TouchesEdge));
    let wide = totals.mass_g.p90 > 2.2 * totals.mass_g.p10;
    match () {
        () if cut => Some("include the whole plate: food is cut off by the photo's edge".into()),
        () if tilt < 12.0 && wide => Some("tilt the phone to about 30 degrees: heights show better".into()),
        () if tilt > 60.0 && wide => Some("hold the phone higher and flatter, about 30 to 45 degrees".into()),
        () if wide && scene.geometry.scale.source.is_prior() => {
            Some("tell the plate's diameter, or lay a bank card beside it: the scale is a guess".into())
        }
        () => None,
    }
}

/// The picture with masks, labels, rims and a scale bar, at the measured size.
pub(super) fn draw(work: &Working, scene: &MeasuredScene, result: &ScanResult) -> dragunov_models::RgbImage {
    let items: Vec<Labelled<'_>> = scene
        .regions
        .foods
        .iter()
        .zip(&result.items)
        .map(|(food, item)| Labelled {
            mask: &food.mask,
            title: format!("{}  {:.0} g", item.label, item.mass_g.p50),
            detail: format!(
                "{:.0} cm³ · {:.0} kcal ({:.0}–{:.0})",
                item.volume_cm3.p50, item.kcal.p50, item.kcal.p10, item.kcal.p90
            ),
        })
        .collect();
    overlay::draw(work.image(), &items, &scene.geometry.rims, px_per_cm(scene))
}

/// Pixels of a centimetre on the table along the photo's rows, at the photo's middle.
fn px_per_cm(scene: &MeasuredScene) -> Option<f64> {
    let fit = &scene.geometry.camera;
    let view = View::new(fit.camera, &fit.gravity);
    let (u, v) = (fit.camera.width as f64 / 2.0, fit.camera.height as f64 / 2.0);
    let (a, b) = (view.on_level(u - 0.5, v, 0.0), view.on_level(u + 0.5, v, 0.0));
    let per_px = (a[0] - b[0]).hypot(a[1] - b[1]) * scene.geometry.scale.camera_height_cm.p50;
    (per_px.is_finite() && per_px > 0.0).then(|| 1.0 / per_px)
}
