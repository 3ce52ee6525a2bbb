//! What was fitted, for a terminal and as the set's `calibration.toml`.

use std::fmt::Write;

use super::{Fitted, FittedNames, MIN_ERRORS};
use crate::contract::ScanError;
use crate::pipeline::{CALIBRATION_FORMAT, Scanner};

/// Smallest values that are written: a sigma of nothing would be believed without end.
const MIN_SIGMA: f64 = 0.002;
const MIN_TILT_SIGMA_DEG: f64 = 0.5;
const MIN_SHIFT_SIGMA: f64 = 0.01;

impl Fitted {
    /// The figures, for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{} photos\n", self.photos);
        for (name, unit, sample) in [
            ("relief_sigma", "camera heights", &self.relief),
            ("shift_sigma", "of the table's disparity", &self.shift),
            ("outline_sigma", "of the width", &self.outline),
            ("table_tilt_sigma_deg", "degrees", &self.table_tilt),
        ] {
            let _ = match sample.sigma() {
                Some(sigma) => writeln!(
                    out,
                    "{name:<22}{sigma:>8.4} {unit} ({} errors, mean {:+.4})",
                    sample.errors.len(),
                    sample.mean()
                ),
                None => writeln!(
                    out,
                    "{name:<22}     not measured: {} errors, {MIN_ERRORS} are needed",
                    sample.errors.len()
                ),
            };
        }
        let _ = match &self.names {
            Some(FittedNames {
                belief, crops, right, ..
            }) => writeln!(
                out,
                "temperature           {:>8.4}, novelty_limit {:.4} ({right} of {crops} foods named rightly)",
                belief.temperature,
                belief.novelty_limit.unwrap_or(f64::NAN)
            ),
            None => writeln!(
                out,
                "temperature                not measured: too few foods with true masks"
            ),
        };
        for failure in &self.failures {
            let _ = writeln!(out, "not all of it measured: {failure}");
        }
        out
    }

    /// The set's `calibration.toml` with these errors; what was not measured stays as the scanner has it.
    ///
    /// # Errors
    /// `checkpoint_invalid` if the set's weights cannot be read.
    pub fn toml(&self, scanner: &Scanner, dataset: &str) -> Result<String, ScanError> {
        let (config, set) = (scanner.config(), scanner.set());
        let (grid, search) = (&config.amg, config.search);
        let mut out = format!(
            "# Calibration of {set} on {photos} photos of {dataset}, by `dragunov eval --calibrate` of version {version}, {date}.\n\
             # Weights: {weights}\n\
             format = {CALIBRATION_FORMAT}\n\
             demonstration = {demonstration}\n\n\
             # Steps of the search and the grid of points, as they were in force; no run of this command changes them.\n\
             [search]\n\
             redraw_from_boxes = {redraw_from_boxes}\n\
             zoom = {zoom}\n\
             search_bowls = {search_bowls}\n\
             redraw_close_up = {redraw_close_up}\n\
             label_consensus = {label_consensus}\n\n\
             [mask_grid]\n\
             points_per_side = {points}\n\
             min_predicted_iou = {iou}\n\
             min_stability = {stability}\n\
             min_region_px = {region}\n\
             screen = {screen}\n\n\
             # One standard deviation each: the 68th percentile of the absolute errors.\n\
             [errors]\n",
            set = one_line(&set.name),
            photos = self.photos,
            dataset = one_line(dataset),
            version = env!("CARGO_PKG_VERSION"),
            date = humantime::format_rfc3339_seconds(std::time::SystemTime::now()),
            weights = set.fingerprint()?,
            demonstration = config.demonstration,
            redraw_from_boxes = search.redraw_from_boxes,
            zoom = search.zoom,
            search_bowls = search.search_bowls,
            redraw_close_up = search.redraw_close_up,
            label_consensus = search.label_consensus,
            points = grid.points_per_side,
            iou = grid.pred_iou_thresh,
            stability = grid.stability_score_thresh,
            region = grid.min_mask_region_area,
            screen = grid.screen,
        );
        for (name, what, sample, least, kept) in [
            (
                "relief_sigma",
                "mean height of a food in the depth network's relief, in camera heights, seen from 20 degrees or more",
                &self.relief,
                MIN_SIGMA,
                config.errors.relief_sigma,
            ),
            (
                "shift_sigma",
                "shift of the depth network's disparity, as a share of the table's",
                &self.shift,
                MIN_SHIFT_SIGMA,
                config.errors.shift_sigma,
            ),
            (
                "outline_sigma",
                "width of a mask, by the camera height that a thing of known size gives",
                &self.outline,
                MIN_SIGMA,
                config.errors.outline_sigma,
            ),
            (
                "table_tilt_sigma_deg",
                "tilt of the table in the depth network's relief, in degrees",
                &self.table_tilt,
                MIN_TILT_SIGMA_DEG,
                config.errors.table_tilt_sigma_deg,
            ),
        ] {
            let _ = match sample.sigma() {
                Some(sigma) => write!(
                    out,
                    "# Fitted: {what}. {} errors, mean {:+.4}.\n{name} = {:.4}\n",
                    sample.errors.len(),
                    sample.mean(),
                    sigma.max(least)
                ),
                None => write!(
                    out,
                    "# NOT measured, {} errors of at least {MIN_ERRORS}; kept as it was: {what}.\n{name} = {kept:?}\n",
                    sample.errors.len()
                ),
            };
        }
        let belief = self.names.as_ref().map_or(config.names, |names| names.belief);
        let _ = writeln!(out, "\n{}\n[names]", names_comment(self.names.as_ref()));
        let _ = writeln!(out, "temperature = {:.4}", belief.temperature);
        if let Some(limit) = belief.novelty_limit {
            let _ = writeln!(out, "novelty_limit = {limit:.4}");
        }
        let _ = writeln!(out, "novelty_width = {:.4}", belief.novelty_width);
        Ok(out)
    }
}

fn names_comment(names: Option<&FittedNames>) -> String {
    match names {
        Some(FittedNames {
            crops,
            right,
            known_crops,
            ..
        }) => {
            let known = match known_crops {
                0 => String::new(),
                n => format!(" Known foods lie as {n} others tell."),
            };
            format!("# Fitted on {crops} foods, {right} named rightly.{known}")
        }
        None => "# NOT measured, too few foods with true masks; kept as it was.".to_owned(),
    }
}

/// A name that cannot end the comment that it stands in.
fn one_line(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use dragunov_models::device::DeviceChoice;

    use super::*;
    use crate::eval::calibrate::ErrorSample;
    use crate::identify::NameBelief;
    use crate::pipeline::{Calibration, ModelSet, ScannerConfig};

    #[test]
    fn what_was_fitted_is_read_back_and_what_was_not_says_so() {
        let set = ModelSet::bundled().unwrap();
        let scanner = Scanner::load(&set, DeviceChoice::Cpu, ScannerConfig::for_set(&set), None).unwrap();
        let errors = |size: f64, n: usize| ErrorSample {
            errors: (0..n).map(|i| if i % 2 == 0 { size } else { -size }).collect(),
        };
        let fitted = Fitted {
            photos: 12,
            relief: errors(0.0312, 30),
            shift: errors(0.21, 20),
            outline: errors(0.0, 10),
            table_tilt: errors(3.0, 7),
            names: Some(FittedNames {
                belief: NameBelief {
                    temperature: 1.25,
                    novelty_limit: Some(1.5),
                    novelty_width: 0.05,
                },
                crops: 50,
                right: 45,
                known: None,
                known_crops: 0,
            }),
            failures: vec!["scene_1: no_food".into()],
        };
        let text = fitted.toml(&scanner, "plates\n[errors]").unwrap();
        let read = Calibration::parse(&text, Path::new("calibration.toml")).unwrap();
        let before = set.calibration.clone().unwrap();
        assert_eq!(read.errors.relief_sigma, 0.0312);
        assert_eq!(read.errors.shift_sigma, 0.21);
        assert_eq!(read.errors.outline_sigma, MIN_SIGMA);
        assert_eq!(
            (read.names.temperature, read.names.novelty_limit),
            (1.25, Some(1.5))
        );
        assert_eq!(
            read.errors.table_tilt_sigma_deg,
            before.errors.table_tilt_sigma_deg
        );
        assert_eq!((read.search, read.mask_grid), (before.search, before.mask_grid));
        assert!(
            text.contains("NOT measured, 7 errors") && text.contains("12 photos of plates [errors]"),
            "{text}"
        );
        assert!(text.contains(&set.fingerprint().unwrap()));
        let shown = fitted.text();
        assert!(shown.contains("0.0312") && shown.contains("not measured: 7") && shown.contains("scene_1"));
    }
}
