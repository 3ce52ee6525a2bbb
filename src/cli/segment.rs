//! `dragunov segment`: Segment Anything alone, on any checkpoint directory.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use clap::ValueHint;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::device::DeviceChoice;
use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{AmgConfig, AutoMask, Label, Prediction, Prompt, Sam};
use dragunov_models::{ImagePx, Mask, Point, Rect, RgbImage};
use serde_json::json;

use super::{photo, timing};
use crate::contract::{ErrorCode, ScanError};

/// Masks for boxes and points, or for everything in the photo.
///
/// Each --box is one prompt. All --point together describe one object: they go with each box, and are one prompt if
/// there is no box; with --separate-points each is a prompt of its own. A prompt has one output for each of the
/// model's alternative masks (3 as published), or one with --single.
///
/// Writes masks.npy (bool, N x height x width), logits.npy (f32, N x h x w, low resolution) and iou.json (N numbers),
/// N = prompts x outputs, prompt by prompt. With --auto: masks.npy and masks.json (COCO records).
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("prompts").required(true).multiple(true).args(["rects", "points", "auto"]))]
pub(super) struct Args {
    /// Folder with config.json and model.safetensors, or one file of weights as its authors publish it (.pth,
    /// .safetensors).
    #[arg(long, value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    checkpoint: PathBuf,
    /// JPEG, PNG, WebP, HEIC or AVIF.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    image: PathBuf,
    /// A box around an object, in pixels of the upright photo.
    #[arg(long = "box", id = "rects", value_name = "x0,y0,x1,y1", value_parser = parse_box, allow_hyphen_values = true)]
    rects: Vec<[f64; 4]>,
    /// A point on the object (label 1) or off it (label 0), in pixels of the upright photo.
    #[arg(long = "point", id = "points", value_name = "x,y,label", value_parser = parse_point, allow_hyphen_values = true)]
    points: Vec<(f64, f64, Label)>,
    /// Each --point is a prompt of its own.
    #[arg(long, requires = "points", conflicts_with = "rects")]
    separate_points: bool,
    /// One mask for each prompt in place of the alternatives.
    #[arg(long)]
    single: bool,
    /// Find everything: a grid of points, filtered as the original generator does.
    #[arg(long, conflicts_with_all = ["rects", "points", "single"])]
    auto: bool,
    #[command(flatten)]
    grid: Grid,
    /// Folder for the results; created if need be.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// cpu or cuda:N.
    #[arg(long, env = "DRAGUNOV_DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// f32 or bf16.
    #[arg(long, default_value = "f32", value_parser = parse_dtype)]
    dtype: DType,
    /// Run encoder and decoder this many times more and print the median times.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "auto")]
    repeat: usize,
    /// Print a JSON summary in place of the table.
    #[arg(long)]
    json: bool,
}

/// Settings of --auto.
#[derive(Debug, clap::Args)]
struct Grid {
    #[arg(long, requires = "auto", value_name = "N", default_value_t = 32)]
    points_per_side: usize,
    /// Drop masks that the model itself thinks little of.
    #[arg(long, requires = "auto", value_name = "IOU", default_value_t = 0.88)]
    pred_iou_thresh: f32,
    /// Drop masks that change much with the threshold.
    #[arg(long, requires = "auto", value_name = "IOU", default_value_t = 0.95)]
    stability_score_thresh: f32,
    /// Also search crops of the photo; layer i has 4^i of them.
    #[arg(long, requires = "auto", value_name = "N", default_value_t = 0)]
    crop_layers: usize,
    /// Remove holes and islands smaller than this.
    #[arg(long, requires = "auto", value_name = "PIXELS", default_value_t = 0)]
    min_region_area: usize,
}

fn numbers<const N: usize>(text: &str, form: &str) -> Result<[f64; N], String> {
    let parsed: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    parsed
        .and_then(|v| v.try_into().ok())
        .ok_or_else(|| format!("expected {form}"))
}

fn parse_box(text: &str) -> Result<[f64; 4], String> {
    numbers(text, "x0,y0,x1,y1")
}

fn parse_point(text: &str) -> Result<(f64, f64, Label), String> {
    let [x, y, label] = numbers(text, "x,y,label")?;
    let label = match label {
        1.0 => Label::Foreground,
        0.0 => Label::Background,
        _ => return Err("the label is 1 (on the object) or 0 (off it)".to_owned()),
    };
    Ok((x, y, label))
}

fn parse_dtype(text: &str) -> Result<DType, String> {
    match text {
        "f32" => Ok(DType::F32),
        "bf16" => Ok(DType::BF16),
        other => Err(format!("{other} is neither f32 nor bf16")),
    }
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let device = self.device.open()?;
        let sam = Sam::load(&Checkpoint::open(&self.checkpoint)?, self.dtype, &device)?;
        let image = photo::read(&self.image)?;
        std::fs::create_dir_all(&self.out).map_err(|e| cannot_write(&self.out, e))?;
        if self.auto {
            let found = sam.generate(&image, &self.grid.config(), &mut Unobserved)?;
            self.write_found(&image, &found)
        } else {
            let prompts = self.prompts();
            let embedding = sam.embed(&image, &mut Unobserved)?;
            let predictions = sam.predict(&embedding, &prompts, !self.single, &mut Unobserved)?;
            let times = self.times(&sam, &image, &device)?;
            self.write_predictions(&image, &predictions, sam.config().mask_side(), times)
        }
    }

    /// Of the encoder alone, and of the decoder with everything up to masks at the photo's size.
    fn times(&self, sam: &Sam, image: &RgbImage, device: &Device) -> Result<Times, ScanError> {
        if self.repeat == 0 {
            return Ok(Times::default());
        }
        let pixels = sam.preprocess().pixel_values(&[image], self.dtype, device)?;
        let embedding = sam.embed(image, &mut Unobserved)?;
        let prompts = self.prompts();
        Ok(Times {
            encoder_ms: timing::median_ms(self.repeat, device, || sam.encode(&pixels, &mut Unobserved))?,
            prompts_ms: timing::median_ms(self.repeat, device, || {
                sam.predict(&embedding, &prompts, !self.single, &mut Unobserved)
            })?,
        })
    }

    fn prompts(&self) -> Vec<Prompt> {
        let point = |&(x, y, label): &(f64, f64, Label)| (Point::new(x, y), label);
        let points: Vec<(Point<ImagePx>, Label)> = self.points.iter().map(point).collect();
        let with = |points: Vec<_>, rect| Prompt {
            points,
            rect,
            mask: None,
        };
        if self.separate_points {
            points.into_iter().map(|p| with(vec![p], None)).collect()
        } else if self.rects.is_empty() {
            vec![with(points, None)]
        } else {
            let rect = |&[x0, y0, x1, y1]: &[f64; 4]| with(points.clone(), Some(Rect::new(x0, y0, x1, y1)));
            self.rects.iter().map(rect).collect()
        }
    }

    fn write_predictions(
        &self,
        image: &RgbImage,
        predictions: &[Prediction],
        side: usize,
        times: Times,
    ) -> Result<(), ScanError> {
        let all: Vec<_> = predictions.iter().flat_map(|p| &p.candidates).collect();
        let masks: Vec<_> = all.iter().map(|c| &c.mask).collect();
        write_masks(&self.out.join("masks.npy"), image, &masks)?;
        let logits = all.iter().flat_map(|c| c.logits.values().iter().copied());
        write_npy(&self.out.join("logits.npy"), [all.len(), side, side], logits)?;
        let iou: Vec<f32> = all.iter().map(|c| c.iou).collect();
        write_json(&self.out.join("iou.json"), &json!(iou))?;
        let rows: Vec<_> = predictions
            .iter()
            .enumerate()
            .flat_map(|(p, prediction)| {
                prediction
                    .candidates
                    .iter()
                    .enumerate()
                    .map(move |(i, c)| (p, i, c))
            })
            .collect();
        if self.json {
            let summary: Vec<_> = rows
                .iter()
                .map(|(p, i, c)| json!({"prompt": p, "output": i, "iou": c.iou, "area": c.mask.area()}))
                .collect();
            let mut report = json!({"out": self.out, "masks": summary});
            if self.repeat > 0 {
                report["timings_ms"] = json!({"encoder": times.encoder_ms, "prompts": times.prompts_ms});
            }
            println!("{report}");
            return Ok(());
        }
        println!(
            "{:>6} {:>6} {:>9} {:>10}  box",
            "prompt", "output", "iou", "pixels"
        );
        for (p, i, c) in rows {
            println!(
                "{p:>6} {i:>6} {:>9.4} {:>10}  {}",
                c.iou,
                c.mask.area(),
                extent(&c.mask)
            );
        }
        println!("masks.npy, logits.npy, iou.json in {}", self.out.display());
        if let Some(line) = timing::line(&[("encoder", times.encoder_ms), ("prompts", times.prompts_ms)]) {
            println!("{line}");
        }
        Ok(())
    }

    fn write_found(&self, image: &RgbImage, found: &[AutoMask]) -> Result<(), ScanError> {
        let masks: Vec<_> = found.iter().map(|m| &m.mask).collect();
        write_masks(&self.out.join("masks.npy"), image, &masks)?;
        let records: Vec<_> = found.iter().map(record).collect();
        write_json(&self.out.join("masks.json"), &json!(records))?;
        if self.json {
            println!("{}", json!({"out": self.out, "masks": found.len()}));
            return Ok(());
        }
        println!(
            "{:>5} {:>9} {:>9} {:>10}  box",
            "mask", "iou", "stability", "pixels"
        );
        for (i, m) in found.iter().enumerate() {
            println!(
                "{i:>5} {:>9.4} {:>9.4} {:>10}  {}",
                m.iou,
                m.stability,
                m.mask.area(),
                extent(&m.mask)
            );
        }
        println!("masks.npy, masks.json in {}", self.out.display());
        Ok(())
    }
}

/// What `--repeat` measured.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    encoder_ms: Option<f64>,
    prompts_ms: Option<f64>,
}

impl Grid {
    fn config(&self) -> AmgConfig {
        AmgConfig {
            points_per_side: self.points_per_side,
            pred_iou_thresh: self.pred_iou_thresh,
            stability_score_thresh: self.stability_score_thresh,
            crop_n_layers: self.crop_layers,
            min_mask_region_area: self.min_region_area,
            ..AmgConfig::default()
        }
    }
}

/// One mask as the original generator reports it with `output_mode="coco_rle"`.
fn record(m: &AutoMask) -> serde_json::Value {
    let crop = m.crop;
    json!({
        "segmentation": {"size": [m.mask.height(), m.mask.width()], "counts": m.mask.to_coco_string()},
        "area": m.mask.area(),
        "bbox": m.coco_bbox(),
        "predicted_iou": m.iou,
        "point_coords": [[m.point.x, m.point.y]],
        "stability_score": m.stability,
        "crop_box": [crop.x0, crop.y0, crop.x1 - crop.x0, crop.y1 - crop.y0],
    })
}

fn extent(mask: &Mask) -> String {
    match mask.bbox() {
        Some(b) => format!("{},{},{},{}", b.x0, b.y0, b.x1, b.y1),
        None => "-".to_owned(),
    }
}

fn cannot_write(path: &Path, e: std::io::Error) -> ScanError {
    ScanError::new(
        ErrorCode::Storage,
        format!("cannot write {}: {e}", path.display()),
    )
    .source(e)
}

fn write_masks(path: &Path, image: &RgbImage, masks: &[&Mask]) -> Result<(), ScanError> {
    let bits = masks.iter().flat_map(|m| m.to_bits());
    write_npy(path, [masks.len(), image.height(), image.width()], bits)
}

fn write_npy<T: npyz::AutoSerialize>(
    path: &Path,
    shape: [usize; 3],
    values: impl Iterator<Item = T>,
) -> Result<(), ScanError> {
    use npyz::WriterBuilder;
    let write = || {
        let file = BufWriter::new(std::fs::File::create(path)?);
        let shape = shape.map(|n| n as u64);
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(file)
            .begin_nd()?;
        writer.extend(values)?;
        writer.finish()
    };
    write().map_err(|e| cannot_write(path, e))
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), ScanError> {
    std::fs::write(path, format!("{value}\n")).map_err(|e| cannot_write(path, e))
}
