//! `dragunov eval`: figures against truth.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::choose::ModelArgs;
use crate::contract::{ErrorCode, ScanError};
use crate::eval::compare::{self, ResultFile};
use crate::eval::convert::Layout;
use crate::eval::oracle::{Damage, Oracle};
use crate::eval::report::Report;
use crate::eval::truth::Perturb;
use crate::eval::{
    Bootstrap, Dataset, FullPipeline, GeometryOnly, KnownSize, PredictionCache, Predictor, Sample, calibrate,
    convert, meals, sensitivity,
};
use crate::identify::NOVELTY_FILE;
use crate::nutrition::FoodTable;
use crate::pipeline::Scanner;

/// Measure how good the results are on photos with known truth.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the manifest of a published data set.
    Convert {
        layout: Layout,
        /// The data set's folder, or the CSV file.
        dataset: PathBuf,
        /// Where to write the manifest; the data set's folder by default.
        out: Option<PathBuf>,
    },
    /// Compare two runs over the same photos, item by item: B less A, each figure with its 95 % interval.
    Compare {
        /// What one run wrote with `--json`.
        a: PathBuf,
        /// What the other run wrote.
        b: PathBuf,
        /// How often photos are drawn.
        #[arg(long, default_value_t = DRAWS, value_parser = draws)]
        bootstrap: usize,
        /// Seed of the draws.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Write all figures here.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

/// Draws of a bootstrap: by default, and at most.
const DRAWS: usize = 2000;
const MOST_DRAWS: usize = 100_000;

fn draws(text: &str) -> Result<usize, String> {
    let n: usize = text.parse().map_err(|_| "it is no number".to_owned())?;
    (1..=MOST_DRAWS)
        .contains(&n)
        .then_some(n)
        .ok_or_else(|| format!("between 1 and {MOST_DRAWS}"))
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Folder with manifest.jsonl, or the manifest itself.
    dataset: Option<PathBuf>,
    /// Truths that are given instead of found; comma separated.
    #[arg(long, value_enum, value_delimiter = ',')]
    oracle: Vec<Oracle>,
    /// Quantise the disparity oracle to this many bits.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=16))]
    bits: Option<u32>,
    /// Smooth noise on the disparity oracle, as a share of its range.
    #[arg(long, default_value_t = 0.0)]
    noise: f64,
    /// Noise of the phone oracle's values, as a share of the distance; 0.01 where it is not given.
    #[arg(long)]
    phone_noise: Option<f64>,
    /// Draw other noise.
    #[arg(long, default_value_t = 0)]
    noise_seed: u64,
    /// Move the focal length by this share (0.02 is 2 %).
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    perturb_focal: f64,
    /// Move the pitch by so many degrees.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    perturb_pitch: f64,
    /// Instead of figures: how far each item moves when focal length and pitch are off by the two shares above (2 % and
    /// 1 degree where they are not given), each alone and in all combinations of signs.
    #[arg(long, alias = "steady")]
    sensitivity: bool,
    /// Which size the oracle `scale` tells.
    #[arg(long, alias = "told", value_enum, default_value_t = KnownSize::Any)]
    known_size: KnownSize,
    /// Usual portions of the named foods have no say: volumes rest on depth alone.
    #[arg(long)]
    no_portions: bool,
    /// Keep what the networks say of each photo in this folder, and use it again: a second run takes a moment. Other weights,
    /// settings and photos get entries of their own; empty the folder when the code that finds masks changes.
    #[arg(long, alias = "memory", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Instead of figures: fit how far the set's networks are off on this data set, which must tell true masks, depth, pitch and
    /// camera heights, and write the set's calibration here.
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// With --calibrate: only what names are worth, and anew where known foods lie. True masks and names are enough.
    #[arg(long, requires = "calibrate")]
    names_only: bool,
    /// With --names-only: the data set that temperature and limit are fitted on; without it, every other photo.
    #[arg(long, requires = "names_only", value_name = "DATASET")]
    judge: Option<PathBuf>,
    /// Instead of figures of photos: what the photos of one meal (`meal` of the manifest) together gain over each alone.
    #[arg(long)]
    meals: bool,
    /// Only N photos, spread evenly over the data set.
    #[arg(long)]
    limit: Option<usize>,
    /// Only photos whose ids, or whose meals, stand in this file, one a line (a split).
    #[arg(long, value_name = "FILE")]
    only: Option<PathBuf>,
    /// Say how far the figures would move with other photos: 95 % intervals of so many draws of photos.
    #[arg(
        long,
        value_name = "DRAWS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2000",
        value_parser = draws
    )]
    bootstrap: Option<usize>,
    /// Seed of these draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    choose: ModelArgs,
    /// Write the report with plots here.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write all figures and items here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        match (self.command, self.run) {
            (Some(Command::Convert { layout, dataset, out }), _) => {
                let (converted, folder) =
                    convert::convert(layout, &dataset, out.as_deref()).map_err(|e| {
                        ScanError::from(e).next_step("docs/evaluation.md says how each data set must lie")
                    })?;
                println!(
                    "{} photos in {}",
                    converted.samples.len(),
                    folder.join(crate::eval::manifest::MANIFEST).display()
                );
                for (what, n) in converted.left_out {
                    println!("{n} {what}");
                }
                Ok(())
            }
            (
                Some(Command::Compare {
                    a,
                    b,
                    bootstrap,
                    seed,
                    json: to,
                }),
                _,
            ) => {
                let read = |path: &Path| {
                    ResultFile::read(path).map_err(|e| {
                        ScanError::from(e).next_step("name files that `dragunov eval --json` wrote")
                    })
                };
                let draws = Bootstrap {
                    draws: bootstrap,
                    seed,
                };
                let found = compare::compare(&read(&a)?, &read(&b)?, draws)?;
                print!("{}", found.text());
                to.map_or(Ok(()), |path| write(&path, json(&found)?))
            }
            (None, run) => run.run(),
        }
    }
}

impl RunArgs {
    fn run(self) -> Result<(), ScanError> {
        let dataset = self.dataset()?;
        if let Some(file) = &self.calibrate {
            return self.calibrate(&dataset, file);
        }
        let mut title = self.title(&dataset);
        let damage = Damage {
            bits: self.bits,
            noise: self.noise,
            phone_noise: self.phone_noise,
            seed: self.noise_seed,
        };
        let foods = self.choose.foods.read()?;
        let table = foods.current().table;
        let predictor: Box<dyn Predictor> = if self.geometry_alone() {
            let geometry_only = GeometryOnly {
                oracles: self.oracle.clone(),
                damage,
                perturb: self.perturb(),
                portions: !self.no_portions,
                foods,
            };
            if self.sensitivity {
                return sensitivities(&title, &dataset, &geometry_only, self.json.as_deref());
            }
            Box::new(geometry_only)
        } else {
            if self.perturb() != Perturb::default() || self.sensitivity {
                return Err(
                    ScanError::new(ErrorCode::BadRequest, "the camera is moved on geometry alone")
                        .next_step("add --oracle masks,labels and depth or disparity"),
                );
            }
            let scanner = self
                .choose
                .scanner_with(foods, |c| c.portions = !self.no_portions)?;
            title += &format!("; found by {}", scanner.finds());
            let cache = self.cache(&scanner)?;
            let pipeline = FullPipeline::new(scanner, self.oracle.clone(), damage, self.known_size, cache);
            if self.meals {
                return self.meals(&dataset, &pipeline, &table, title);
            }
            Box::new(pipeline)
        };
        let (bar, tick) = progress(&dataset);
        let outcomes = crate::eval::run(&dataset, predictor.as_ref(), &table, tick);
        bar.finish_and_clear();
        let bootstrap = self.bootstrap.map(|draws| Bootstrap {
            draws,
            seed: self.seed,
        });
        let report = Report::new(title, outcomes, bootstrap);
        print!("{}", report.text());
        if let Some(path) = &self.html {
            write(path, report.html())?;
        }
        if let Some(path) = &self.json {
            write(path, json(&report)?)?;
        }
        Ok(())
    }

    /// The photos that are asked for.
    fn dataset(&self) -> Result<Dataset, ScanError> {
        let path = self.dataset.as_ref().ok_or_else(|| {
            ScanError::new(ErrorCode::BadRequest, "no data set was named")
                .next_step("dragunov eval DATASET_DIR --oracle masks,disparity,labels,scale")
        })?;
        let mut dataset = Dataset::open(path)?;
        if let Some(path) = &self.only {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let message = format!("cannot read {}", path.display());
                ScanError::new(ErrorCode::NotFound, message).source(e)
            })?;
            let ids: HashSet<&str> = text.lines().map(str::trim).collect();
            dataset.samples.retain(|s| {
                ids.contains(s.id.as_str()) || s.meal.as_deref().is_some_and(|meal| ids.contains(meal))
            });
        }
        if let Some(limit) = self.limit.filter(|l| *l > 0 && *l < dataset.samples.len()) {
            let n = dataset.samples.len();
            let mut at = 0..n;
            dataset.samples.retain(|_| {
                let i = at.next().unwrap_or(0);
                (i * limit) / n != ((i + 1) * limit) / n
            });
        }
        Ok(dataset)
    }

    /// Whether no model is needed.
    fn geometry_alone(&self) -> bool {
        let has = |oracle| self.oracle.contains(&oracle);
        has(Oracle::Masks) && (has(Oracle::Depth) || has(Oracle::Disparity)) && has(Oracle::Labels)
    }

    fn perturb(&self) -> Perturb {
        Perturb {
            focal: self.perturb_focal,
            pitch_deg: self.perturb_pitch,
        }
    }

    fn cache(&self, scanner: &Scanner) -> Result<Option<PredictionCache>, ScanError> {
        let Some(dir) = &self.cache else {
            return Ok(None);
        };
        let fingerprint = scanner.outputs_fingerprint()?;
        Ok(Some(PredictionCache::new(dir.clone(), fingerprint)))
    }

    /// How the figures came about, in words.
    fn title(&self, dataset: &Dataset) -> String {
        let names: Vec<String> = self
            .oracle
            .iter()
            .filter_map(|o| o.to_possible_value().map(|v| v.get_name().to_owned()))
            .collect();
        let mut title = format!("{} photos; given: {}", dataset.samples.len(), names.join(", "));
        if let Some(bits) = self.bits {
            title += &format!("; disparity in {bits} bits");
        }
        if self.no_portions {
            title += "; without usual portions";
        }
        if self.noise > 0.0 {
            title += &format!("; smooth noise of {:.1} %", 100.0 * self.noise);
        }
        if let Some(noise) = self.phone_noise {
            title += &format!("; a phone's noise of {:.1} %", 100.0 * noise);
        }
        let perturb = self.perturb();
        if perturb != Perturb::default() {
            title += &format!(
                "; focal length {:+.1} %, pitch {:+.1} degrees",
                100.0 * perturb.focal,
                perturb.pitch_deg
            );
        }
        title
    }

    fn meals(
        &self,
        dataset: &Dataset,
        pipeline: &FullPipeline,
        foods: &FoodTable,
        title: String,
    ) -> Result<(), ScanError> {
        let (bar, tick) = progress(dataset);
        let report = meals::run(dataset, pipeline, foods, title, tick);
        bar.finish_and_clear();
        print!("{}", report.text());
        self.json
            .as_deref()
            .map_or(Ok(()), |path| write(path, json(&report)?))
    }

    /// Fits the errors of the set's networks and writes its calibration.
    fn calibrate(&self, dataset: &Dataset, file: &Path) -> Result<(), ScanError> {
        // Usual portions would pull the heights that are judged towards what is usual.
        let foods = self.choose.foods.read()?;
        let mut scanner = self.choose.scanner_with(foods, |c| c.portions = false)?;
        let cache = self.cache(&scanner)?;
        let (bar, tick) = progress(dataset);
        let fitted = if self.names_only {
            let judge = self.judge.as_deref().map(Dataset::open).transpose()?;
            calibrate::fit_names(dataset, judge.as_ref(), &mut scanner, tick)?
        } else {
            calibrate::fit(dataset, &mut scanner, cache.as_ref(), tick)?
        };
        bar.finish_and_clear();
        let name = self.dataset.as_deref().and_then(Path::file_name);
        let name = name.map_or_else(|| "a data set".into(), |n| n.to_string_lossy());
        print!("{}", fitted.text());
        write(file, fitted.toml(&scanner, &name)?)?;
        println!("written to {}", file.display());
        if let Some(known) = fitted.names.as_ref().and_then(|names| names.known.as_ref()) {
            let beside = file.with_file_name(NOVELTY_FILE);
            known.write(&beside)?;
            println!("known foods written to {}", beside.display());
        }
        Ok(())
    }
}

/// A bar, and what moves it on by one photo.
fn progress(dataset: &Dataset) -> (ProgressBar, impl FnMut(&Sample) + use<>) {
    let bar = ProgressBar::new(dataset.samples.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}") {
        bar.set_style(style);
    }
    let moved = bar.clone();
    (bar, move |sample: &Sample| {
        moved.set_message(sample.id.clone());
        moved.inc(1);
    })
}

fn sensitivities(
    title: &str,
    dataset: &Dataset,
    geometry_only: &GeometryOnly,
    to: Option<&Path>,
) -> Result<(), ScanError> {
    let by = match geometry_only.perturb {
        p if p == Perturb::default() => Perturb {
            focal: 0.02,
            pitch_deg: 1.0,
        },
        p => p,
    };
    let (bar, tick) = progress(dataset);
    let moves = sensitivity::moves(dataset, geometry_only, by, tick)?;
    bar.finish_and_clear();
    print!("{}", sensitivity::text(title, &moves));
    to.map_or(Ok(()), |path| write(path, json(&moves)?))
}

fn json(value: &impl serde::Serialize) -> Result<String, ScanError> {
    serde_json::to_string_pretty(value)
        .map_err(|e| ScanError::new(ErrorCode::Internal, "the report does not serialise").source(e))
}

fn write(path: &Path, text: String) -> Result<(), ScanError> {
    std::fs::write(path, text).map_err(|e| {
        ScanError::new(
            ErrorCode::ConfigInvalid,
            format!("cannot write {}: {e}", path.display()),
        )
    })
}
