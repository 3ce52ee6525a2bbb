//! `dragunov depth`: one photo through one Depth Anything V2 checkpoint.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{ValueEnum, ValueHint};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::depth_anything::{Depth, DepthAnything, Policy};
use dragunov_models::device::DeviceChoice;
use dragunov_models::observer::Unobserved;
use npyz::WriterBuilder;
use serde::Serialize;

use super::timing;
use crate::contract::{ErrorCode, ScanError};

/// Depth of one photo as a NumPy file: float32 (H, W) at the photo's size.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with config.json and model.safetensors, or one file of weights as its authors publish it (.pth,
    /// .safetensors).
    #[arg(long, value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    checkpoint: PathBuf,
    /// JPEG, PNG, WebP, HEIC or AVIF.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    image: PathBuf,
    /// Disparity (larger is nearer) or metres, depending on the checkpoint.
    #[arg(long, value_name = "NPY", value_hint = ValueHint::FilePath)]
    out: PathBuf,
    /// Whose preparation and resizing to reproduce.
    #[arg(long, value_enum, default_value_t = PolicyArg::Original)]
    policy: PolicyArg,
    /// `cpu` or `cuda:N`.
    #[arg(long, env = "DRAGUNOV_DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// What the backbone computes in; the decoder is always f32.
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    dtype: Precision,
    /// Run the network this many times more and print the median time.
    #[arg(long, value_name = "N", default_value_t = 0)]
    repeat: usize,
    /// Print a summary as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyArg {
    /// transformers' image processor, as the checkpoint configures it.
    Hf,
    /// The authors' repository: sees more of elongated photos.
    Original,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    F32,
    Bf16,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    out: &'a Path,
    width: usize,
    height: usize,
    /// `relative_disparity` or `metric_depth_m`.
    kind: &'static str,
    min: f32,
    max: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_ms: Option<f64>,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let photo = super::photo::read(&self.image)?;
        let policy = match self.policy {
            PolicyArg::Hf => Policy::Hf,
            PolicyArg::Original => Policy::Original,
        };
        let dtype = match self.dtype {
            Precision::F32 => candle_core::DType::F32,
            Precision::Bf16 => candle_core::DType::BF16,
        };
        let device = self.device.open()?;
        let model = DepthAnything::load(&Checkpoint::open(&self.checkpoint)?, dtype, &device)?;
        let depth = model.infer(&photo, policy, &mut Unobserved)?;
        write_npy(&self.out, &depth).map_err(|e| {
            let message = format!("cannot write {}", self.out.display());
            ScanError::new(ErrorCode::Storage, message).source(e)
        })?;
        let network_ms = if self.repeat == 0 {
            None
        } else {
            let pixels = model.prepare(&photo, policy)?;
            timing::median_ms(self.repeat, &device, || {
                model.forward(&pixels, policy, &mut Unobserved)
            })?
        };
        self.report(&depth, network_ms);
        Ok(())
    }

    fn report(&self, depth: &Depth, network_ms: Option<f64>) {
        let (width, height) = depth.size();
        let values = depth.values().iter().copied();
        let summary = Summary {
            out: &self.out,
            width,
            height,
            kind: match depth {
                Depth::Relative(_) => "relative_disparity",
                Depth::Metric(_) => "metric_depth_m",
            },
            min: values.clone().fold(f32::INFINITY, f32::min),
            max: values.fold(f32::NEG_INFINITY, f32::max),
            network_ms,
        };
        if self.json {
            println!("{}", serde_json::json!(summary));
            return;
        }
        let out = self.out.display();
        let (min, max) = (summary.min, summary.max);
        match depth {
            Depth::Relative(_) => {
                println!("{out}: {width} x {height}, disparity {min:.3} to {max:.3}, larger is nearer")
            }
            Depth::Metric(_) => println!("{out}: {width} x {height}, {min:.3} to {max:.3} m"),
        }
        if let Some(line) = timing::line(&[("network", network_ms)]) {
            println!("{line}");
        }
    }
}

fn write_npy(path: &Path, depth: &Depth) -> std::io::Result<()> {
    let (width, height) = depth.size();
    let mut file = BufWriter::new(File::create(path)?);
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[height as u64, width as u64])
        .writer(&mut file)
        .begin_nd()?;
    writer.extend(depth.values().iter().copied())?;
    writer.finish()?;
    file.flush()
}
