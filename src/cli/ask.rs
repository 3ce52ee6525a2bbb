//! `dragunov ask`: one question about photos to one Qwen2.5-VL checkpoint.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::device::DeviceChoice;
use dragunov_models::observer::Unobserved;
use dragunov_models::qwen_vl::{GenerateOptions, Generation, Prompt, QwenVl, Shape, grounding};
use serde::Serialize;

use super::timing;
use crate::contract::{ErrorCode, ScanError};
use crate::telemetry::logs;

/// The answer of a vision language model to a question about photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with config.json, model.safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    checkpoint: PathBuf,
    /// JPEG, PNG, WebP, HEIC or AVIF; may be given several times, in the order of the question.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    image: Vec<PathBuf>,
    /// The question.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Longest answer in tokens.
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_new_tokens: usize,
    /// Sample with the checkpoint's temperature, top-k and top-p and this seed; without, the likeliest token wins.
    #[arg(long, value_name = "SEED")]
    sample: Option<u64>,
    /// Largest area an image is resized to, in pixels; a token costs 28 x 28 of them.
    #[arg(long, value_name = "N")]
    max_pixels: Option<usize>,
    /// `cpu` or `cuda:N`.
    #[arg(long, env = "DRAGUNOV_DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    dtype: Precision,
    /// Answer this many times more and print the median times to the first token and of each further one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    repeat: usize,
    /// Print token ids, text, image sizes and boxes in the photo's pixels as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    F32,
    Bf16,
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    generation: Generation,
    /// Boxes of the answer, if it names some and there is one photo.
    boxes: Vec<FoundBox>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    further_token_ms: Option<f64>,
}

/// In pixels of the photo.
#[derive(Debug, Serialize)]
struct FoundBox {
    label: String,
    x0: f64,
    y0: f64,
    x1: f64,
    y1: f64,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        logs::warnings();
        let photos = self
            .image
            .iter()
            .map(|path| super::photo::read(path))
            .collect::<Result<Vec<_>, _>>()?;
        let dtype = match self.dtype {
            Precision::F32 => candle_core::DType::F32,
            Precision::Bf16 => candle_core::DType::BF16,
        };
        let device = self.device.open()?;
        let mut model = QwenVl::load(&Checkpoint::open(&self.checkpoint)?, dtype, &device)?;
        if let Some(max_pixels) = self.max_pixels {
            model = model.with_max_pixels(max_pixels);
        }
        let config = model.generation_config();
        let options = match self.sample {
            None => GenerateOptions::greedy(config, self.max_new_tokens),
            Some(seed) => GenerateOptions::seeded(config, seed, self.max_new_tokens),
        };
        let prompt = Prompt::ask(photos, self.prompt);
        let encoded = [model.encode(&prompt)?];
        let mut answers = model.generate_batch(&encoded, &options, &mut Unobserved)?;
        let generation = answers.swap_remove(0); // one prompt, one answer
        let one = GenerateOptions {
            max_new_tokens: 1,
            ..options.clone()
        };
        let timed = |options: &GenerateOptions| {
            timing::median_ms(self.repeat, &device, || {
                model.generate_batch(&encoded, options, &mut Unobserved)
            })
        };
        let (first_token_ms, all_ms) = (timed(&one)?, timed(&options)?);
        let further = generation.token_ids.len().saturating_sub(1).max(1) as f64;
        let further_token_ms = all_ms
            .zip(first_token_ms)
            .map(|(all, first)| (all - first) / further);
        if !self.json {
            println!("{}", generation.text);
            let times = [
                ("first token", first_token_ms),
                ("each further", further_token_ms),
            ];
            if let Some(line) = timing::line(&times) {
                println!("{line}");
            }
            return Ok(());
        }
        let boxes = boxes(&generation);
        let answer = Answer {
            generation,
            boxes,
            first_token_ms,
            further_token_ms,
        };
        let text = serde_json::to_string_pretty(&answer).map_err(|e| {
            ScanError::new(ErrorCode::Internal, "the answer cannot be written as JSON").source(e)
        })?;
        println!("{text}");
        Ok(())
    }
}

/// Boxes say nothing of which photo they lie in, so they are mapped only if there is one.
fn boxes(generation: &Generation) -> Vec<FoundBox> {
    let [image] = generation.images.as_slice() else {
        return Vec::new();
    };
    grounding::parse(&generation.text, image)
        .into_iter()
        .filter_map(|found| match found.shape {
            Shape::Point(_) => None,
            Shape::Rect(r) => Some(FoundBox {
                label: found.label,
                x0: r.x0,
                y0: r.y0,
                x1: r.x1,
                y1: r.y1,
            }),
        })
        .collect()
}
