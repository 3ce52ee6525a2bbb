//! One model alone, for engineers who look into a scan.

use base64::Engine as _;
use dragunov_models::depth_anything::{Depth, Policy};
use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{Prediction, Prompt};
use dragunov_models::{Mask, Rect, RgbImage};

use super::Scanner;
use super::networks::estimate;
use super::scan::depth_picture;
use crate::contract::model_answer::{
    DepthAnswer, DepthUnit, IdentifyAnswer, LabelGuess, ModelAnswer, RunLengths, SegmentAnswer, SegmentMask,
};
use crate::contract::request::ModelCall;
use crate::contract::{ErrorCode, ScanError, Stage};
use crate::identify::Identifier;
use crate::overlay;
use crate::perceive::{crop, or_stopped, while_wanted};
use crate::runtime::{JobContext, ModelTask};

impl Scanner {
    /// Runs one model. `segment` and `identify` look at the call's place; without one they use the whole photo.
    ///
    /// # Errors
    /// The model's own.
    pub(super) fn one_model(
        &mut self,
        task: ModelTask,
        image: &RgbImage,
        call: &ModelCall,
        ctx: &JobContext,
    ) -> Result<ModelAnswer, ScanError> {
        Ok(match task {
            ModelTask::Depth => ModelAnswer::Depth(self.depth_alone(image, ctx)?),
            ModelTask::Segment => ModelAnswer::Segment(self.segment_alone(image, call, ctx)?),
            ModelTask::Identify => ModelAnswer::Identify(self.identify_alone(image, call, ctx)?),
        })
    }

    fn depth_alone(&self, image: &RgbImage, ctx: &JobContext) -> Result<DepthAnswer, ScanError> {
        ctx.stage(Stage::Depth)?;
        let depth = estimate(&self.depth, image, ctx)?;
        let (width, height) = depth.size();
        let finite = || depth.values().iter().copied().filter(|v| v.is_finite());
        let picture = depth_picture(&depth)
            .ok_or_else(|| ScanError::new(ErrorCode::DepthInvalid, "the depth model gave no finite value"))?;
        let kind = match depth {
            Depth::Relative(_) => DepthUnit::RelativeDisparity,
            Depth::Metric(_) => DepthUnit::Metres,
        };
        Ok(DepthAnswer {
            kind,
            width,
            height,
            min: finite().fold(f32::INFINITY, f32::min),
            max: finite().fold(f32::NEG_INFINITY, f32::max),
            picture: base64::engine::general_purpose::STANDARD.encode(overlay::png(&picture)?),
        })
    }

    fn segment_alone(
        &self,
        image: &RgbImage,
        call: &ModelCall,
        ctx: &JobContext,
    ) -> Result<SegmentAnswer, ScanError> {
        ctx.stage(Stage::Segment)?;
        let scored = |mask: &Mask, iou, stability| SegmentMask {
            mask: RunLengths {
                size: [mask.height(), mask.width()],
                counts: mask.to_coco_string(),
            },
            iou,
            stability,
        };
        let masks = match prompt(call) {
            None => {
                let found = self
                    .sam
                    .generate(image, &self.config.amg, &mut while_wanted(ctx))
                    .map_err(|e| or_stopped(e, ctx))?;
                let masks = found.iter().map(|m| scored(&m.mask, m.iou, Some(m.stability)));
                masks.collect()
            }
            Some(prompt) => {
                let predictions = self.prompted(image, prompt, ctx)?;
                let candidates = predictions.iter().flat_map(|p| &p.candidates);
                candidates.map(|c| scored(&c.mask, c.iou, None)).collect()
            }
        };
        Ok(SegmentAnswer { masks })
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

    fn identify_alone(
        &mut self,
        image: &RgbImage,
        call: &ModelCall,
        ctx: &JobContext,
    ) -> Result<IdentifyAnswer, ScanError> {
        ctx.stage(Stage::Segment)?;
        let mask = match prompt(call) {
            None => Mask::from_fn(image.width(), image.height(), |_, _| true),
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
        let guess = |(label, confidence)| LabelGuess { label, confidence };
        Ok(IdentifyAnswer {
            kind: answer.kind,
            label: answer.label,
            confidence: answer.confidence,
            alternatives: answer.alternatives.into_iter().map(guess).collect(),
        })
    }

    /// Runs every model once on a small grey picture.
    pub(super) fn touch(&mut self, ctx: &JobContext) -> Result<(), ScanError> {
        // On a GPU of the sizes that scans have: the memory that these take is held from here on, and reported.
        let (w, h, points) = match self.on.is_cuda() {
            true => (1024, 768, self.config.amg.points_per_batch.max(1)),
            false => (64, 48, 1),
        };
        let grey = RgbImage::new(w, h, vec![127; w * h * 3])?;
        let prompts = vec![Prompt::point(32.0, 24.0); points];
        ctx.check()?;
        self.depth.infer(&grey, Policy::Hf, &mut Unobserved)?;
        ctx.check()?;
        let embedding = self.sam.embed(&grey, &mut Unobserved)?;
        self.sam.predict(&embedding, &prompts, true, &mut Unobserved)?;
        if let Some(identifier) = &mut self.identifier {
            for answer in identifier.identify(&[grey], &|| ctx.is_cancelled()) {
                answer?;
            }
        }
        Ok(())
    }
}

/// What a call asks of Segment Anything; none for the whole photo.
fn prompt(call: &ModelCall) -> Option<Prompt> {
    let mut prompt = match call.bbox {
        Some([x0, y0, x1, y1]) => Prompt::rect(Rect::new(x0, y0, x1, y1)),
        None => Prompt::default(),
    };
    if let Some([x, y]) = call.point {
        prompt.points = Prompt::point(x, y).points;
    }
    (call.bbox.is_some() || call.point.is_some()).then_some(prompt)
}
