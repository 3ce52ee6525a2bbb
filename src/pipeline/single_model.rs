//! One model alone, for engineers who look into a scan.

use base64::Engine as _;
use dragunov_models::depth_anything::{Depth, Policy};
use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{Prediction, Prompt};
use dragunov_models::{Rect, RgbImage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Scanner;
use super::networks::estimate;
use super::scan::depth_picture;
use crate::contract::quote::parsed;
use crate::contract::{ErrorCode, ScanError, Stage};
use crate::identify::Identifier;
use crate::intake::validate;
use crate::overlay;
use crate::perceive::{crop, or_stopped, while_wanted};
use crate::runtime::{JobContext, ModelTask};

/// Place to look; pixels of the upright photo.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Place {
    #[serde(rename = "box")]
    bbox: Option<[f64; 4]>,
    point: Option<[f64; 2]>,
}

impl Scanner {
    /// Runs one model. `segment` and `identify` take `box` and `point`; without either they use the whole photo.
    ///
    /// # Errors
    /// `bad_request` for unknown parameters, otherwise the model's own.
    pub(super) fn one_model(
        &mut self,
        task: ModelTask,
        image: &RgbImage,
        params: &Map<String, Value>,
        ctx: &JobContext,
    ) -> Result<Value, ScanError> {
        let at: Place = serde_json::from_value(Value::Object(params.clone())).map_err(|e| {
            ScanError::new(ErrorCode::BadRequest, parsed(e))
                .next_step("send box: [x0, y0, x1, y1] or point: [x, y] beside image")
        })?;
        validate::place("", at.point, at.bbox)?;
        match task {
            ModelTask::Depth => self.depth_alone(image, ctx),
            ModelTask::Segment => self.segment_alone(image, &at, ctx),
            ModelTask::Identify => self.identify_alone(image, &at, ctx),
        }
    }

    fn depth_alone(&self, image: &RgbImage, ctx: &JobContext) -> Result<Value, ScanError> {
        ctx.stage(Stage::Depth)?;
        let depth = estimate(&self.depth, image, ctx)?;
        let (width, height) = depth.size();
        let finite = || depth.values().iter().copied().filter(|v| v.is_finite());
        let picture = depth_picture(&depth)
            .ok_or_else(|| ScanError::new(ErrorCode::DepthInvalid, "the depth model gave no finite value"))?;
        let kind = match depth {
            Depth::Relative(_) => "relative_disparity",
            Depth::Metric(_) => "metres",
        };
        Ok(json!({
            "kind": kind, "width": width, "height": height,
            "min": finite().fold(f32::INFINITY, f32::min),
            "max": finite().fold(f32::NEG_INFINITY, f32::max),
            "picture": base64::engine::general_purpose::STANDARD.encode(overlay::png(&picture)?),
        }))
    }

    fn segment_alone(&self, image: &RgbImage, at: &Place, ctx: &JobContext) -> Result<Value, ScanError> {
        ctx.stage(Stage::Segment)?;
        let rle = |mask: &dragunov_models::Mask| json!({"size": [mask.height(), mask.width()], "counts": mask.to_coco_string()});
        let masks: Vec<Value> = match at.prompt() {
            None => {
                let found = self
                    .sam
                    .generate(image, &self.config.amg, &mut while_wanted(ctx))
                    .map_err(|e| or_stopped(e, ctx))?;
                found
                    .iter()
                    .map(|m| json!({"mask": rle(&m.mask), "iou": m.iou, "stability": m.stability}))
                    .collect()
            }
            Some(prompt) => {
                let predictions = self.prompted(image, prompt, ctx)?;
                let candidates = predictions.iter().flat_map(|p| &p.candidates);
                candidates
                    .map(|c| json!({"mask": rle(&c.mask), "iou": c.iou}))
                    .collect()
            }
        };
        Ok(json!({ "masks": masks }))
    }

    fn prompted(
        &self,
        image: &RgbImage,
        prompt: Prompt,
        ctx: &JobContext,
    ) -> Result<Vec<Prediction>, ScanError> {
        let mut wanted = while_wanted(ctx);
        let embedding = self.sam.embed(image, &mut wanted);
        embedding
            .and_then(|e| self.sam.predict(&e, &[prompt], true, &mut wanted))
            .map_err(|e| or_stopped(e, ctx))
    }

    fn identify_alone(&mut self, image: &RgbImage, at: &Place, ctx: &JobContext) -> Result<Value, ScanError> {
        ctx.stage(Stage::Segment)?;
        let mask = match at.prompt() {
            None => dragunov_models::Mask::from_fn(image.width(), image.height(), |_, _| true),
            Some(prompt) => {
                let predictions = self.prompted(image, prompt, ctx)?;
                let best = predictions.first().and_then(|p| p.best()).map(|c| c.mask.clone());
                best.ok_or_else(|| ScanError::new(ErrorCode::Internal, "the prompt gave no mask"))?
            }
        };
        ctx.stage(Stage::Identify)?;
        let picture = crop(image, &mask)
            .ok_or_else(|| ScanError::new(ErrorCode::NoFood, "there is nothing at that place"))?;
        let identifier: &mut dyn Identifier = self.identifier.as_deref_mut().ok_or_else(|| {
            ScanError::new(ErrorCode::ConfigInvalid, "this set has no vision-language model")
        })?;
        let mut answers = identifier.identify(&[picture], &|| ctx.check().is_err());
        ctx.check()?;
        let answer = answers
            .pop()
            .unwrap_or_else(|| Err(ScanError::new(ErrorCode::Internal, "the identifier said nothing")))?;
        Ok(json!({
            "kind": answer.kind, "label": answer.label, "confidence": answer.confidence,
            "alternatives": answer.alternatives.iter().map(|(l, p)| json!({"label": l, "confidence": p})).collect::<Vec<_>>(),
        }))
    }

    /// Runs every model once on a small grey picture.
    pub(super) fn touch(&mut self, ctx: &JobContext) -> Result<(), ScanError> {
        let grey = RgbImage::new(64, 48, vec![127; 64 * 48 * 3])?;
        ctx.check()?;
        self.depth.infer(&grey, Policy::Hf, &mut Unobserved)?;
        ctx.check()?;
        let embedding = self.sam.embed(&grey, &mut Unobserved)?;
        self.sam
            .predict(&embedding, &[Prompt::point(32.0, 24.0)], true, &mut Unobserved)?;
        if let Some(identifier) = &mut self.identifier {
            for answer in identifier.identify(&[grey], &|| ctx.is_cancelled()) {
                answer?;
            }
        }
        Ok(())
    }
}

impl Place {
    fn prompt(&self) -> Option<Prompt> {
        let mut prompt = match self.bbox {
            Some([x0, y0, x1, y1]) => Prompt::rect(Rect::new(x0, y0, x1, y1)),
            None => Prompt::default(),
        };
        if let Some([x, y]) = self.point {
            prompt.points = Prompt::point(x, y).points;
        }
        (self.bbox.is_some() || self.point.is_some()).then_some(prompt)
    }
}
