//! From measures to the contract's answer and to the overlay picture.

use base64::Engine as _;
use dragunov_models::Mask;

use super::measure::MeasuredScene;
use super::reshoot;
use super::scan::SeenPhoto;
use super::working::Working;
use crate::contract::recompute::Origins;
use crate::contract::request::MaskFormat;
use crate::contract::result::{
    CameraInfo, ImageInfo, Item, MaskData, Models, NoteInfo, ScanResult, ScanStatus, Totals, VolumeSigma,
};
use crate::contract::{ErrorCode, Estimated, Reshoot, ReshootAction, ScanError, ScanRequest, Warning, flag};
use crate::food_store::Snapshot;
use crate::geometry::{ItemGeometry, View};
use crate::identify::Identified;
use crate::nutrition::{ItemInput, MatchKind, Note, Nourished, VlmGrams, Volume, nourish_noted};
use crate::overlay::{self, Labelled};

/// A p90 over a p10 from which an interval is wide.
const WIDE: f64 = 2.2;
/// More energy than this is a failed measurement. From 4,000 on the answer warns.
const IMPOSSIBLE_KCAL: f64 = 10_000.0;

/// Weighs the items of one photo and puts everything into the result.
///
/// # Errors
/// `internal` if an item cannot be weighed or a mask not be encoded.
pub(super) fn of_photo(
    seen: &SeenPhoto,
    request: &ScanRequest,
    foods: &Snapshot,
    models: Models,
    warnings: Vec<Warning>,
) -> Result<ScanResult, ScanError> {
    let scene = &seen.scene;
    let items: Vec<Weighable<'_>> = scene
        .regions
        .foods
        .iter()
        .zip(&scene.geometry.items)
        .map(|(food, measured)| Weighable {
            photo: 0,
            work: &seen.work,
            mask: &food.mask,
            identity: &food.identity,
            pieces: food.pieces,
            measured,
            volume_cm3: measured.volume_cm3,
            volume_sigma_ln: measured.volume_sigma_ln,
        })
        .collect();
    assemble(seen, &items, request, foods, models, warnings)
}

/// An item as it is answered: of one photo, or of several.
pub(super) struct Weighable<'a> {
    /// Which photo mask and shape are of, from 0.
    pub(super) photo: usize,
    pub(super) work: &'a Working,
    pub(super) mask: &'a Mask,
    pub(super) identity: &'a Identified,
    pub(super) pieces: usize,
    pub(super) measured: &'a ItemGeometry,
    pub(super) volume_cm3: Estimated,
    pub(super) volume_sigma_ln: VolumeSigma,
}

/// Weighs the items and puts everything into the result, the view that of `main`.
///
/// # Errors
/// As [`of_photo`].
pub(super) fn assemble(
    main: &SeenPhoto,
    items: &[Weighable<'_>],
    request: &ScanRequest,
    foods: &Snapshot,
    models: Models,
    mut warnings: Vec<Warning>,
) -> Result<ScanResult, ScanError> {
    let scene = &main.scene;
    let inputs: Vec<ItemInput> = items.iter().map(Weighable::input).collect();
    let note = request.note.as_deref().map(|text| (text, Note::read(text)));
    let said = note.as_ref().map(|(_, note)| note.clone()).unwrap_or_default();
    let meal = nourish_noted(&foods.table, &inputs, &said)
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
    let items = items
        .iter()
        .zip(&meal.items)
        .enumerate()
        .map(|(index, (item, weighed))| item.answer(index, request.options.masks, weighed))
        .collect::<Result<Vec<_>, _>>()?;
    let reshoot = reshoot::rank(&scene.geometry, &items, request.photos());
    Ok(ScanResult {
        scan_id: request.scan_id.clone(),
        user_id: request.user_id.clone(),
        status: ScanStatus::PendingConfirmation,
        image: image_info(&main.work),
        reshoot_hint: reshoot_hint(&reshoot, &meal.totals),
        reshoot,
        items,
        totals: meal.totals,
        photos: Vec::new(),
        depth_source: main.weights.depth_source,
        camera: camera(&main.work, scene),
        scale: scene.geometry.scale.clone(),
        plane_fit: scene.geometry.plane_fit.clone(),
        models,
        foods: foods.info.clone(),
        timings_ms: Default::default(),
        warnings,
        note: note.map(|(text, note)| NoteInfo {
            text: text.to_owned(),
            portion: note.portion,
        }),
        overlay: None,
        depth: None,
        edits: Vec::new(),
        original: None,
    })
}

impl Weighable<'_> {
    fn input(&self) -> ItemInput {
        ItemInput {
            label: self.identity.label.clone(),
            confidence: self.identity.confidence,
            alternatives: self.identity.alternatives.clone(),
            volume: Volume {
                p50_cm3: self.volume_cm3.p50,
                sigma_shared_ln: self.volume_sigma_ln.shared,
                sigma_own_ln: self.volume_sigma_ln.own,
            },
            form: None,
            vlm: self.identity.grams.map(|grams| VlmGrams { grams }),
            told_g: None,
            portion: 1.0,
            answers: Vec::new(),
        }
    }

    fn answer(&self, index: usize, masks: MaskFormat, weighed: &Nourished) -> Result<Item, ScanError> {
        let measured = self.measured;
        Ok(Item {
            id: item_id(index),
            label: self.identity.label.clone(),
            food_id: weighed.food_id.as_ref().map(ToString::to_string),
            confidence: self.identity.confidence,
            alternatives: weighed.alternatives.clone(),
            bbox: full_box(self.work, self.mask),
            mask: mask_data(&self.work.full_mask(self.mask), masks)?,
            photo: self.photo,
            volume_cm3: self.volume_cm3,
            volume_sigma_ln: self.volume_sigma_ln,
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
            pieces: self.pieces,
            flags: flag::distinct(measured.flags.iter().chain(&weighed.flags).copied()),
            questions: weighed.questions.clone(),
        })
    }
}

/// Id of the item at this place of the answer.
pub(super) fn item_id(index: usize) -> String {
    format!("item_{}", index + 1)
}

pub(super) fn image_info(work: &Working) -> ImageInfo {
    ImageInfo {
        width: work.full.0,
        height: work.full.1,
        exif_orientation: work.photo.orientation,
    }
}

/// The box around a mask of the measured picture, in the photo's own pixels.
pub(super) fn full_box(work: &Working, mask: &Mask) -> [f64; 4] {
    let k = work.enlarge();
    mask.bbox()
        .map_or([0.0; 4], |b| [b.x0 * k, b.y0 * k, b.x1 * k, b.y1 * k])
}

pub(super) fn mask_data(mask: &Mask, format: MaskFormat) -> Result<Option<MaskData>, ScanError> {
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

pub(super) fn camera(work: &Working, scene: &MeasuredScene) -> CameraInfo {
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

/// The first of the changes in words: where food is cut off, or the interval is wide.
fn reshoot_hint(reshoot: &[Reshoot], totals: &Totals) -> Option<String> {
    let first = reshoot.first()?;
    let wide = totals.mass_g.p90 > WIDE * totals.mass_g.p10;
    (wide || first.action == ReshootAction::StepBack).then(|| {
        format!(
            "{} {} (the interval gets about {:.0} % narrower)",
            first.action.meaning(),
            first.action.action(),
            100.0 * first.gain
        )
    })
}

/// The picture with masks, labels, rims and a scale bar, at the measured size. `items`: masks of this photo and what they are.
pub(super) fn draw(seen: &SeenPhoto, items: &[(&Mask, &Item)]) -> dragunov_models::RgbImage {
    let items: Vec<Labelled<'_>> = items
        .iter()
        .map(|(mask, item)| Labelled {
            mask,
            title: format!("{}  {:.0} g", item.label, item.mass_g.p50),
            detail: format!(
                "{:.0} cm³ · {:.0} kcal ({:.0}–{:.0})",
                item.volume_cm3.p50, item.kcal.p50, item.kcal.p10, item.kcal.p90
            ),
        })
        .collect();
    let scene = &seen.scene;
    overlay::draw(seen.work.image(), &items, &scene.geometry.rims, px_per_cm(scene))
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
