//! `dragunov scan PHOTO...`

mod depth_map;
mod table;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::ValueHint;

use super::choose::ModelArgs;
use crate::contract::photos::MealPhoto;
use crate::contract::request::{CameraHint, ImageSource, MaskFormat, Reference};
use crate::contract::{ErrorCode, ReferenceKind, ScanError, ScanRequest, bounds};
use crate::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};
use crate::overlay;
use crate::pipeline::{Pictures, Scanner};
use crate::runtime::JobContext;
use depth_map::DepthMapArgs;

/// Measure the food on one or more photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JPEG, PNG, WebP, HEIC or AVIF files.
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    photos: Vec<PathBuf>,
    /// The photos show one meal from several sides: one answer for all of them.
    #[arg(long)]
    meal: bool,
    /// Degrees between the lens and straight down: 0 = phone flat over the table, 90 = upright. One number for all photos, or
    /// one a photo, with commas between them.
    #[arg(
        long,
        value_name = "DEG",
        allow_negative_numbers = true,
        value_delimiter = ','
    )]
    pitch: Vec<f64>,
    /// Degrees that the phone is rolled clockwise about the lens.
    #[arg(long, value_name = "DEG", allow_negative_numbers = true)]
    roll: Option<f64>,
    /// Field of view of the photo's long side; EXIF is used if absent.
    #[arg(long, value_name = "DEG")]
    fov: Option<f64>,
    /// 35 mm equivalent focal length.
    #[arg(long, value_name = "MM")]
    f35: Option<f64>,
    /// Height of the lens over the table.
    #[arg(long, value_name = "CM")]
    height: Option<f64>,
    /// Outer diameter of the plate.
    #[arg(long, value_name = "CM", group = "reference")]
    plate: Option<f64>,
    /// Diameter of the coin on the table.
    #[arg(long, value_name = "CM", group = "reference")]
    coin: Option<f64>,
    /// A bank card lies on the table.
    #[arg(long, group = "reference")]
    card: bool,
    /// What you say of the meal: "half of it", "with olive oil". The vision model hears it, and questions about it come first.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Write the result as JSON to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    /// Write the photo with masks, labels, plate rim and scale bar. A folder if there are several photos.
    #[arg(long, value_name = "PNG", value_hint = ValueHint::FilePath)]
    overlay: Option<PathBuf>,
    /// Write the depth map in colour. A folder if there are several photos.
    #[arg(long, value_name = "PNG", value_hint = ValueHint::FilePath)]
    depth: Option<PathBuf>,
    #[command(flatten)]
    depth_map: DepthMapArgs,
    #[command(flatten)]
    choose: ModelArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        if self.pitch.len() > 1 && self.pitch.len() != self.photos.len() {
            let message = format!(
                "--pitch has {} numbers for {} photos",
                self.pitch.len(),
                self.photos.len()
            );
            return Err(ScanError::new(ErrorCode::BadRequest, message).next_step("give one, or one a photo"));
        }
        self.depth_map.check(self.photos.len())?;
        let several = self.photos.len() > 1 && !self.meal;
        let pictures = [&self.overlay, &self.depth].into_iter().flatten();
        for dir in pictures.clone().filter(|_| several) {
            std::fs::create_dir_all(dir).map_err(|e| unwritable(dir, e))?;
        }
        let json = self.json.iter().filter(|file| file.as_os_str() != "-");
        for file in pictures.filter(|_| !several).chain(json) {
            has_folder(file)?;
        }
        let mut scanner = self.choose.scanner(self.choose.foods.read()?)?;
        let bar = progress(if several { self.photos.len() } else { 1 });
        let mut outcomes = Vec::new();
        let one_by_one = if self.meal {
            &self.photos[..1]
        } else {
            &self.photos[..]
        };
        for (i, (path, name)) in one_by_one.iter().zip(picture_names(&self.photos)).enumerate() {
            bar.set_message(path.display().to_string());
            let outcome = if self.meal {
                self.scan_meal(&mut scanner)
            } else {
                self.scan_one(&mut scanner, i, several.then_some(name.as_str()))
                    .map_err(|e| e.in_file(path))
            };
            bar.inc(1);
            // One broken photo does not stop the others; alone it is the command's error.
            match outcome {
                Err(error) if !several => return Err(error),
                Err(error) => {
                    bar.suspend(|| super::report(&error));
                    outcomes.push(Outcome {
                        photo: path,
                        result: None,
                        error: Some(error),
                    });
                }
                Ok(result) => outcomes.push(Outcome {
                    photo: path,
                    result: Some(result),
                    error: None,
                }),
            }
        }
        bar.finish_and_clear();
        let to_stdout = self.json.as_deref() == Some(Path::new("-"));
        if let Some(target) = &self.json {
            let text = match &outcomes[..] {
                [alone] => serde_json::to_string_pretty(&alone.result),
                all => serde_json::to_string_pretty(all),
            }
            .map_err(|e| ScanError::new(ErrorCode::Internal, "cannot write the result as JSON").source(e))?;
            if to_stdout {
                println!("{text}");
            } else {
                std::fs::write(target, text + "\n").map_err(|e| unwritable(target, e))?;
            }
        }
        if !to_stdout {
            for outcome in &outcomes {
                if let Some(result) = &outcome.result {
                    print!("{}", table::render(outcome.photo, result));
                }
            }
        }
        let failed: Vec<ErrorCode> = outcomes
            .iter()
            .filter_map(|o| o.error.as_ref().map(|e| e.code))
            .collect();
        match failed.first() {
            Some(code) => {
                let message = format!(
                    "{} of {} photos could not be measured",
                    failed.len(),
                    self.photos.len()
                );
                Err(ScanError::new(*code, message).next_step("each is reported above with its own reason"))
            }
            None => Ok(()),
        }
    }

    fn scan_one(
        &self,
        scanner: &mut Scanner,
        i: usize,
        name: Option<&str>,
    ) -> Result<crate::ScanResult, ScanError> {
        let request = self.request(i);
        let photo = self.read(i, Shot::from_request(&request))?;
        let (result, pictures) = scanner.scan(&photo, &request, &JobContext::detached())?;
        self.draw(pictures, name)?;
        Ok(result)
    }

    /// All photos as one meal.
    fn scan_meal(&self, scanner: &mut Scanner) -> Result<crate::ScanResult, ScanError> {
        if self.photos.len() > bounds::PHOTOS {
            let message = format!(
                "{} photos of one meal; the most are {}",
                self.photos.len(),
                bounds::PHOTOS
            );
            return Err(ScanError::new(ErrorCode::BadRequest, message));
        }
        let mut request = self.request(0);
        for i in 1..self.photos.len() {
            let other = self.request(i);
            request.more.push(MealPhoto {
                image: other.image,
                pitch_deg: other.pitch_deg,
                roll_deg: other.roll_deg,
                gravity: other.gravity,
                camera: other.camera,
                depth: other.depth,
            });
        }
        let photos = (self.photos.iter().enumerate())
            .map(|(i, path)| {
                self.read(i, Shot::from_request(&request.of_photo(i)))
                    .map_err(|e| e.in_file(path))
            })
            .collect();
        let (result, pictures) = scanner.scan_meal(photos, &request, &JobContext::detached())?;
        self.draw(pictures, None)?;
        Ok(result)
    }

    /// The photo at this place, with its depth map.
    fn read(&self, i: usize, mut shot: Shot) -> Result<Photo, ScanError> {
        shot.depth = self.depth_map.read(i)?;
        let bytes = std::fs::read(&self.photos[i]).map_err(|e| {
            ScanError::new(ErrorCode::NotFound, "cannot read the photo")
                .source(e)
                .next_step("check the path and its permissions")
        })?;
        read_photo(&bytes, &shot, &SourceMeta::default(), &DecodeLimits::default())
    }

    /// Writes the pictures that were asked for: to the file named, or into the folder named under `name`.
    fn draw(&self, pictures: Pictures, name: Option<&str>) -> Result<(), ScanError> {
        for (picture, target) in [(pictures.overlay, &self.overlay), (pictures.depth, &self.depth)] {
            if let (Some(picture), Some(target)) = (picture, target) {
                let target = name.map_or_else(|| target.clone(), |n| target.join(format!("{n}.png")));
                std::fs::write(&target, overlay::png(&picture)?).map_err(|e| unwritable(&target, e))?;
            }
        }
        Ok(())
    }

    /// What is said of the photo at this place.
    fn request(&self, i: usize) -> ScanRequest {
        let known = |kind, diameter_cm| Some(Reference { kind, diameter_cm });
        let mut request = ScanRequest::new(ImageSource::Bytes(Vec::new()));
        request.pitch_deg = self.pitch.get(i).or(self.pitch.first()).copied();
        request.roll_deg = self.roll;
        request.camera = CameraHint {
            fov_long_deg: self.fov,
            focal_px: None,
            f35_mm: self.f35,
            height_cm: self.height,
            pose: None,
        };
        request.reference = match (self.plate, self.coin, self.card) {
            (Some(cm), _, _) => known(ReferenceKind::Plate, Some(cm)),
            (_, Some(cm), _) => known(ReferenceKind::Coin, Some(cm)),
            (_, _, true) => known(ReferenceKind::Card, None),
            _ => None,
        };
        request.note.clone_from(&self.note);
        request.options.masks = if self.json.is_some() {
            MaskFormat::Rle
        } else {
            MaskFormat::None
        };
        request.options.overlay = self.overlay.is_some();
        request.options.depth = self.depth.is_some();
        request
    }
}

/// What became of one of several photos, as `--json` prints it.
#[derive(Debug, serde::Serialize)]
struct Outcome<'a> {
    photo: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<crate::ScanResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ScanError>,
}

/// A name for each photo's pictures, no two alike: its own, with its folder's and then a number where that is not enough.
fn picture_names(photos: &[PathBuf]) -> Vec<String> {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let stems: Vec<String> = photos.iter().map(|p| text(p.file_stem())).collect();
    let mut names: Vec<String> = Vec::new();
    for (path, stem) in photos.iter().zip(&stems) {
        let alone = stems.iter().filter(|s| *s == stem).count() == 1;
        let folder = path.parent().and_then(Path::file_name).filter(|_| !alone);
        let base = folder.map_or_else(|| stem.clone(), |f| format!("{}_{stem}", f.to_string_lossy()));
        let free = (1..).map(|n| {
            if n == 1 {
                base.clone()
            } else {
                format!("{base}_{n}")
            }
        });
        names.extend(free.into_iter().find(|n| !names.contains(n)));
    }
    names
}

/// Said before a scan that would have nowhere to go.
fn has_folder(file: &Path) -> Result<(), ScanError> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let message = format!(
                "cannot write {}: there is no folder {}",
                file.display(),
                folder.display()
            );
            Err(ScanError::new(ErrorCode::BadRequest, message).next_step("make the folder, or name another"))
        }
        _ => Ok(()),
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> ScanError {
    ScanError::new(ErrorCode::Storage, format!("cannot write {}", path.display())).source(error)
}

fn progress(photos: usize) -> indicatif::ProgressBar {
    if photos < 2 || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
    let bar = indicatif::ProgressBar::new(photos as u64);
    if let Ok(style) = style {
        bar.with_style(style)
    } else {
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_picture_overwrites_another() {
        let names = |list: &[&str]| picture_names(&list.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["a/x.jpg", "b/y.png"]), ["x", "y"]);
        assert_eq!(
            names(&["a/photo.jpg", "b/photo.jpg", "c/lunch.jpg"]),
            ["a_photo", "b_photo", "lunch"]
        );
        assert_eq!(
            names(&["photo.jpg", "photo.png", "a/photo.jpg"]),
            ["photo", "photo_2", "a_photo"]
        );
    }
}
