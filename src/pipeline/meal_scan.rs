//! A scan of several photos of one meal.

use dragunov_models::Mask;

use super::answer::{self, Weighable};
use super::clock::Clock;
use super::inputs::ScanInputs;
use super::meal::{Matched, Meal};
use super::measure::{self, MeasuredScene};
use super::scan::SeenPhoto;
use super::{Pictures, Scanner};
use crate::contract::photos::{PhotoError, PhotoInfo, PhotoItem, PhotoView};
use crate::contract::result::Item;
use crate::contract::{
    Control, ErrorCode, Fault, ScanError, ScanRequest, ScanResult, Stage, Warning, WarningCode,
};
use crate::food_store::Snapshot;
use crate::identify::Identified;
use crate::intake::Photo;
use crate::nutrition::FoodTable;
use crate::perceive::{FoodRegion, Regions, find_expected};
use crate::runtime::JobContext;

/// A photo that was measured.
struct Seen {
    /// Its place among the meal's photos.
    photo: usize,
    seen: SeenPhoto,
}

impl Seen {
    /// Measures the photo with other regions, unless one of them is none: what lies flat is left out, and would move the others'
    /// places.
    fn measure_again(&mut self, request: &ScanRequest, regions: Regions, foods: &FoodTable) {
        let (part, count) = (request.of_photo(self.photo), regions.foods.len());
        let SeenPhoto {
            work, depth, weights, ..
        } = &self.seen;
        let again = measure::measure(work, &part, depth, regions, foods, *weights);
        if let Ok(scene) = again
            && scene.regions.foods.len() == count
        {
            self.seen.scene = scene;
        }
    }
}

impl Scanner {
    /// Measures the meal that several photos show; a photo that cannot be read comes with the reason. Photos that cannot be measured, or show another meal, are left out with a warning.
    ///
    /// # Errors
    /// The first photo's, where none can be measured; otherwise as [`Self::scan`].
    pub fn scan_meal(
        &mut self,
        photos: Vec<Result<Photo, ScanError>>,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<(ScanResult, Pictures), ScanError> {
        let inputs = photos.iter().map(|_| ScanInputs::default()).collect();
        self.scan_meal_with(photos, request, ctx, inputs)
    }

    /// [`Self::scan_meal`] with some of what the networks would say given, photo by photo.
    ///
    /// # Errors
    /// As [`Self::scan_meal`].
    pub fn scan_meal_with(
        &mut self,
        photos: Vec<Result<Photo, ScanError>>,
        request: &ScanRequest,
        ctx: &JobContext,
        inputs: Vec<ScanInputs>,
    ) -> Result<(ScanResult, Pictures), ScanError> {
        let mut clock = Clock::start(ctx);
        let foods = self.foods();
        let (mut measured, mut failed) = (Vec::new(), Vec::new());
        for ((photo, shot), inputs) in photos.into_iter().enumerate().zip(inputs) {
            let mut inputs = Some(inputs);
            let seen = shot.and_then(|shot| {
                self.sparing(|scanner| {
                    let inputs = inputs.take().unwrap_or_default();
                    scanner.look(&shot, &request.of_photo(photo), ctx, inputs, &foods, &mut clock)
                })
            });
            match seen {
                Ok(seen) => measured.push(Seen { photo, seen }),
                Err(error) if concerns_the_photo(&error) => failed.push((photo, error)),
                Err(error) => return Err(error),
            }
        }
        if measured.is_empty() {
            let first = failed.into_iter().next().map(|(_, error)| error);
            return Err(first.unwrap_or_else(|| ScanError::new(ErrorCode::BadRequest, "no photo was sent")));
        }

        self.sparing(|scanner| scanner.complete(&mut measured, request, &foods.table, &clock))?;
        clock.stage(Stage::Nourish)?;
        let meal = self.together(&mut measured, request, &foods.table);
        let (mut result, pictures) = self.answer_meal(&measured, &meal, request, &foods)?;
        for (photo, error) in failed {
            let error = PhotoError::from(&error);
            result.warnings.push(left_out_warning(photo, &error.message));
            result.photos.push(PhotoInfo {
                photo,
                used: false,
                error: Some(error),
                view: None,
                warnings: Vec::new(),
                items: Vec::new(),
            });
        }
        result.photos.sort_by_key(|info| info.photo);
        result.timings_ms = clock.finish();
        Ok((result, pictures))
    }

    /// Looks in every photo for what another one shows there. What is found is measured with the rest and stays without a name: the
    /// other photos have one.
    ///
    /// # Errors
    /// Of the segmenter, and `cancelled` or `deadline_exceeded` of the job.
    fn complete(
        &self,
        measured: &mut [Seen],
        request: &ScanRequest,
        foods: &FoodTable,
        control: &dyn Control,
    ) -> Result<(), ScanError> {
        let scenes = scenes(measured);
        let missing = Matched::of(&scenes, foods).missing(&scenes);
        for (k, seen) in measured.iter_mut().enumerate() {
            let outlines: Vec<&Mask> = (missing.iter())
                .filter(|thing| thing.photo == k)
                .map(|thing| &thing.outline)
                .collect();
            if outlines.is_empty() {
                continue;
            }
            let (image, regions) = (seen.seen.work.image(), &seen.seen.scene.regions);
            let found = find_expected(&self.sam, image, &outlines, regions, control)?;
            let mut regions = regions.clone();
            for mask in found.into_iter().flatten() {
                (regions.dishes.iter_mut()).for_each(|(_, dish)| *dish = dish.subtract(&mask));
                (regions.others.iter_mut()).for_each(|other| *other = other.subtract(&mask));
                regions.foods.push(FoodRegion {
                    mask,
                    identity: Identified::unknown_food(),
                    pieces: 1,
                });
            }
            regions.others.retain(|other| !other.is_empty());
            if regions.foods.len() > seen.seen.scene.regions.foods.len() {
                seen.measure_again(request, regions, foods);
            }
        }
        Ok(())
    }

    /// Items across the photos. Each photo is measured again with what all of them together call its items, because the name tells a
    /// usual shape and size.
    fn together(&self, measured: &mut [Seen], request: &ScanRequest, foods: &FoodTable) -> Meal {
        let matched = Matched::of(&scenes(measured), foods);
        for (k, seen) in measured.iter_mut().enumerate() {
            let mut regions = seen.seen.scene.regions.clone();
            for (index, food) in regions.foods.iter_mut().enumerate() {
                if let Some(identity) = matched.identity(k, index) {
                    food.identity.clone_from(identity);
                }
            }
            seen.measure_again(request, regions, foods);
        }
        matched.fuse(&scenes(measured), foods)
    }

    fn answer_meal(
        &self,
        measured: &[Seen],
        meal: &Meal,
        request: &ScanRequest,
        foods: &Snapshot,
    ) -> Result<(ScanResult, Pictures), ScanError> {
        let main = &measured[meal.main];
        let mut warnings = main.seen.warnings.clone();
        warnings.extend(self.set_warnings());
        warnings.extend(foods.warning.clone());
        warnings.extend(meal.warnings.iter().cloned());
        let items: Vec<Weighable<'_>> = meal
            .items
            .iter()
            .filter_map(|item| {
                let (k, index, _) = *item.seen.first()?;
                let seen = &measured[k];
                Some(Weighable {
                    photo: seen.photo,
                    work: &seen.seen.work,
                    mask: &seen.seen.scene.regions.foods[index].mask,
                    identity: &item.identity,
                    pieces: item.pieces,
                    measured: &seen.seen.scene.geometry.items[index],
                    volume_cm3: item.volume_cm3,
                    volume_sigma_ln: item.volume_sigma_ln,
                })
            })
            .collect();
        let mut result = answer::assemble(&main.seen, &items, request, foods, self.names.clone(), warnings)?;
        for (k, seen) in measured.iter().enumerate() {
            let info = photo_info(k, seen, meal, request)?;
            if let Some(error) = &info.error {
                result.warnings.push(left_out_warning(seen.photo, &error.message));
            }
            result.photos.push(info);
        }
        let shown: Vec<(&Mask, &Item)> = meal
            .items
            .iter()
            .zip(&result.items)
            .filter_map(|(of_meal, item)| {
                let (_, index, _) = of_meal.seen.iter().find(|(photo, ..)| *photo == meal.main)?;
                Some((&main.seen.scene.regions.foods[*index].mask, item))
            })
            .collect();
        let pictures = main.seen.pictures(request, &shown);
        Ok((result, pictures))
    }
}

fn scenes(measured: &[Seen]) -> Vec<&MeasuredScene> {
    measured.iter().map(|seen| &seen.seen.scene).collect()
}

/// Other photos may still do.
fn concerns_the_photo(error: &ScanError) -> bool {
    let of_job = matches!(error.code, ErrorCode::Cancelled | ErrorCode::DeadlineExceeded);
    !of_job && (error.code.fault() == Fault::Client || error.code == ErrorCode::DepthInvalid)
}

fn left_out_warning(photo: usize, why: &str) -> Warning {
    Warning::new(
        WarningCode::PhotoLeftOut,
        format!("photo {photo} was left out: {why}"),
    )
}

fn photo_info(k: usize, seen: &Seen, meal: &Meal, request: &ScanRequest) -> Result<PhotoInfo, ScanError> {
    let SeenPhoto {
        work,
        scene,
        warnings,
        ..
    } = &seen.seen;
    let stranger = meal.strangers.contains(&k);
    let items = (0..scene.regions.foods.len())
        .map(|index| {
            let (food, item) = (&scene.regions.foods[index], &scene.geometry.items[index]);
            let place = meal.items.iter().enumerate().find_map(|(n, of_meal)| {
                let (.., weight) = of_meal
                    .seen
                    .iter()
                    .find(|(photo, i, _)| (*photo, *i) == (k, index))?;
                Some((answer::item_id(n), *weight))
            });
            let (item_id, weight) = place.map_or((None, 0.0), |(id, weight)| (Some(id), weight));
            Ok(PhotoItem {
                item: item_id,
                label: food.identity.label.clone(),
                confidence: food.identity.confidence,
                bbox: answer::full_box(work, &food.mask),
                mask: answer::mask_data(&work.full_mask(&food.mask), request.options.masks)?,
                volume_cm3: item.volume_cm3,
                volume_sigma_ln: item.volume_sigma_ln,
                weight,
            })
        })
        .collect::<Result<_, ScanError>>()?;
    Ok(PhotoInfo {
        photo: seen.photo,
        used: !stranger,
        error: stranger.then(|| PhotoError {
            code: ErrorCode::OtherMeal,
            message: "it shows other food than the other photos".to_owned(),
            next_step: ErrorCode::OtherMeal.action().to_owned(),
        }),
        view: Some(PhotoView {
            image: answer::image_info(work),
            camera: answer::camera(work, scene),
            scale: scene.geometry.scale.clone(),
            plane_fit: scene.geometry.plane_fit.clone(),
            depth_source: seen.seen.weights.depth_source,
        }),
        warnings: warnings.iter().chain(&scene.geometry.warnings).cloned().collect(),
        items,
    })
}

#[cfg(test)]
mod tests;
