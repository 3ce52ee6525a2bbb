//! Naming by the service's own Qwen2.5-VL, held to a JSON schema so that no prose is ever parsed.

use dragunov_models::qwen_vl::{JsonOptions, Prompt, QwenVl, Schema};
use dragunov_models::{ModelError, RgbImage};

use super::{Identified, Identifier, Kind};
use crate::contract::{ErrorCode, ScanError};

/// The question of every crop; `plate-tiny` is trained on exactly this text.
const QUESTION: &str = "What is this? Answer in JSON.";
/// Foods told beside the chosen one.
const ALTERNATIVES: usize = 4;

/// Asks one question a crop and scores every kind and label exactly.
#[derive(Debug)]
pub struct NativeIdentifier {
    model: QwenVl,
    schema: Schema,
    name: String,
}

impl NativeIdentifier {
    /// `labels`: the foods that an answer may name.
    pub fn new(model: QwenVl, name: impl Into<String>, labels: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<String> = labels.into_iter().collect();
        let extra = Kind::ALL.iter().map(|k| k.as_str()).filter(|k| *k != "food");
        names.extend(extra.chain([Identified::UNKNOWN]).map(String::from));
        names.sort();
        names.dedup();
        let schema = Schema::object([
            ("kind", Schema::one_of(Kind::ALL.map(Kind::as_str))),
            ("label", Schema::one_of(names)),
        ]);
        Self {
            model,
            schema,
            name: name.into(),
        }
    }

    fn identify_one(&self, crop: &RgbImage, cancelled: &dyn Fn() -> bool) -> Result<Identified, ScanError> {
        let prompt = Prompt::ask([crop.clone()], QUESTION);
        let options = JsonOptions {
            alternatives: ALTERNATIVES,
        };
        let answer = self
            .model
            .generate_json(&prompt, &self.schema, options, cancelled)?;
        let field = |pointer: &str| {
            answer.field(pointer).ok_or_else(|| {
                ScanError::from(ModelError::Prompt(format!(
                    "the answer {} lacks {pointer}",
                    answer.text
                )))
            })
        };
        let (kind, label) = (field("/kind")?, field("/label")?);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let chosen = Kind::parse(&text(&kind.value)).ok_or_else(|| {
            ScanError::new(
                ErrorCode::Internal,
                format!("the schema let kind {} through", kind.value),
            )
        })?;
        let mut label_text = text(&label.value);
        // A kind's name is no food: the two fields contradict each other.
        let contradiction = chosen == Kind::Food && Kind::parse(&label_text).is_some();
        if contradiction {
            label_text = Identified::UNKNOWN.into();
        } else if chosen != Kind::Food {
            label_text = chosen.as_str().into();
        }
        let confidence = match (chosen, contradiction) {
            (Kind::Food, false) => kind.probability * label.probability,
            _ => kind.probability,
        };
        let alternatives = label
            .alternatives
            .iter()
            .map(|(value, p)| (text(value), kind.probability * p))
            .filter(|(name, _)| chosen == Kind::Food && Kind::parse(name).is_none())
            .collect();
        Ok(Identified {
            kind: chosen,
            label: label_text,
            confidence,
            alternatives,
        })
    }
}

impl Identifier for NativeIdentifier {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn identify(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        crops
            .iter()
            .map(|crop| self.identify_one(crop, cancelled))
            .collect()
    }
}
