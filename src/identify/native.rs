//! Naming by the service's own Qwen2.5-VL, held to a JSON schema so that no prose is ever parsed.

mod seen;

use dragunov_models::device::fault::Fault;
use dragunov_models::observer;
use dragunov_models::qwen_vl::grounding::{self, Shape};
use dragunov_models::qwen_vl::{EncodedPrompt, ImageInfo, JsonAnswer, JsonOptions, Prompt, QwenVl, Schema};
use dragunov_models::{ModelError, RgbImage};

use super::{Grounded, Groundings, Identified, Identifier, Kind, MAX_BOXES, Novelty};
use crate::contract::{ErrorCode, ScanError};
use seen::Seen;

/// The question of every crop; `plate-tiny` is trained on exactly this text.
const QUESTION: &str = "What is this? Answer in JSON.";
/// The question of a whole photo, in the words that Qwen2.5-VL is published with for boxes.
const GROUNDING: &str = "Locate every food, plate, bowl, glass, coin and piece of cutlery on the table. Output the \
     bbox_2d coordinates and the label of each in JSON format.";
/// Foods told beside the chosen one.
const ALTERNATIVES: usize = 4;

/// Largest area that the model sees of a crop: 1280 tokens, transformers' default. A published set allows sixteen times as
/// many for a mask the size of a table, and the time and memory of an attention grow with their square.
const CROP_PIXELS: usize = 1280 * 28 * 28;

/// Prompt tokens from which on no more crops join a batch: enough for products to be of many rows, and a bound on the
/// memory of caches and activations.
const BATCH_TOKENS: usize = 2048;

/// Crops whose features are asked for at once.
const CROPS_AT_A_TIME: usize = 16;

/// Asks one question a crop and scores every kind and label exactly.
#[derive(Debug)]
pub struct NativeIdentifier {
    model: QwenVl,
    schema: Schema,
    names: Vec<String>,
    name: String,
    grounds: bool,
    note: Option<String>,
    novelty: Option<Novelty>,
}

impl NativeIdentifier {
    /// `labels`: the foods that an answer may name. `grounds`: whether the model was trained to give boxes, as the
    /// published ones are; without that its boxes would be noise.
    pub fn new(
        model: QwenVl,
        name: impl Into<String>,
        labels: impl IntoIterator<Item = String>,
        grounds: bool,
    ) -> Self {
        let (schema, names) = schema(labels.into_iter().collect());
        Self {
            model,
            schema,
            names,
            name: name.into(),
            grounds,
            note: None,
            novelty: None,
        }
    }

    /// Tells of every crop how unlike these known foods it is.
    #[must_use]
    pub fn with_novelty(mut self, novelty: Option<Novelty>) -> Self {
        self.novelty = novelty;
        self
    }

    /// The question with the note, if there is one. The answer is held to a schema, whatever the note asks for.
    fn asked(&self, question: &str) -> String {
        match &self.note {
            Some(note) => format!(
                "{question} The person wrote about the meal: {:?}",
                note.replace(char::is_control, " ")
            ),
            None => question.to_owned(),
        }
    }

    /// Asks about crops of [`BATCH_TOKENS`] in one batch.
    fn identify_batch(
        &self,
        batch: &[EncodedPrompt],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        let options = JsonOptions {
            alternatives: ALTERNATIVES,
        };
        let mut seen = Seen::by(observer::until(cancelled));
        match self
            .model
            .generate_json_batch(batch, &self.schema, options, &mut seen)
        {
            Ok(answers) => {
                let mut found: Vec<_> = answers.iter().map(identified).collect();
                if let Some((novelty, features)) = self.novelty.as_ref().zip(seen.means(batch)) {
                    for (answer, features) in found.iter_mut().zip(features) {
                        if let Ok(identity) = answer {
                            identity.novelty = Some(novelty.of(&features));
                        }
                    }
                }
                found
            }
            Err(ModelError::Cancelled) => batch.iter().map(|_| Err(ModelError::Cancelled.into())).collect(),
            Err(e) if batch.len() == 1 => vec![Err(e.into())],
            // Nothing more can be asked.
            Err(e) if e.device_fault() == Some(Fault::Lost) => vec![Err(e.into())],
            // One crop's failure is its own.
            Err(_) => batch
                .iter()
                .flat_map(|one| self.identify_batch(std::slice::from_ref(one), cancelled))
                .collect(),
        }
    }
}

/// The form of an answer about one crop, and every label that it may give.
fn schema(foods: Vec<String>) -> (Schema, Vec<String>) {
    let mut names = foods;
    let extra = Kind::texts().into_iter().filter(|k| *k != Kind::Food.as_str());
    names.extend(extra.chain([Identified::UNKNOWN]).map(String::from));
    names.sort();
    names.dedup();
    let schema = Schema::object([
        ("kind", Schema::one_of(Kind::texts())),
        ("label", Schema::one_of(names.clone())),
    ]);
    (schema, names)
}

/// What the answer about one crop says.
fn identified(answer: &JsonAnswer) -> Result<Identified, ScanError> {
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
        grams: None,
        novelty: None,
    })
}

/// The boxes of an answer about `image`, each with the probability of its label and what else it may be.
fn grounded(answer: &JsonAnswer, image: &ImageInfo) -> Vec<Grounded> {
    let empty = Vec::new();
    let objects = answer.value.as_array().unwrap_or(&empty);
    let mut out = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        // One object at a time: a box without area is dropped, and must not move its successors' labels.
        let Some(found) = grounding::parse(&object.to_string(), image).pop() else {
            continue;
        };
        let Shape::Rect(bbox) = found.shape else { continue };
        let score = answer.field(&format!("/{i}/label"));
        let label = found.label.trim().to_lowercase();
        let kind = Kind::parse(&label).unwrap_or(Kind::Food);
        let alternatives = match score {
            Some(score) if kind == Kind::Food => score
                .alternatives
                .iter()
                .filter_map(|(v, p)| Some((v.as_str()?.to_owned(), *p)))
                .filter(|(name, _)| Kind::parse(name).is_none())
                .collect(),
            _ => Vec::new(),
        };
        out.push(Grounded {
            identity: Identified {
                kind,
                label,
                confidence: score.map_or(0.5, |s| s.probability),
                alternatives,
                grams: None,
                novelty: None,
            },
            bbox,
        });
    }
    out
}

impl Identifier for NativeIdentifier {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn set_foods(&mut self, names: Vec<String>) {
        (self.schema, self.names) = schema(names);
    }

    /// The model that is trained on one question hears no other.
    fn set_note(&mut self, note: Option<&str>) {
        self.note = note.filter(|_| self.grounds).map(str::to_owned);
    }

    fn features(&mut self, crops: &[RgbImage]) -> Result<Option<Vec<Vec<f32>>>, ScanError> {
        let encode = |crop: &RgbImage| self.model.encode(&Prompt::ask([crop.clone()], QUESTION));
        let mut out = Vec::with_capacity(crops.len());
        for some in crops.chunks(CROPS_AT_A_TIME) {
            let batch = some.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
            let mut seen = Seen::by(observer::Unobserved);
            self.model.embed(&batch, &mut seen)?;
            let Some(features) = seen.means(&batch) else {
                return Ok(None);
            };
            out.extend(features);
        }
        Ok(Some(out))
    }

    fn grounds(&self) -> bool {
        self.grounds
    }

    fn ground(&mut self, photo: &RgbImage, cancelled: &dyn Fn() -> bool) -> Result<Groundings, ScanError> {
        if !self.grounds {
            return Err(ScanError::new(
                ErrorCode::ConfigInvalid,
                format!("{} was not trained to give boxes", self.name),
            )
            .next_step("use --strategy automatic, or a published Qwen2.5-VL"));
        }
        let prompt = Prompt::ask([photo.clone()], self.asked(GROUNDING));
        let encoded = self.model.encode(&prompt)?;
        let image = encoded
            .images
            .first()
            .ok_or_else(|| ScanError::from(ModelError::Prompt("the photo was not encoded".into())))?;
        let side = Schema::Integer {
            min: 0,
            max: image.resized_width.max(image.resized_height) as i64,
        };
        let schema = Schema::Array {
            items: Box::new(Schema::object([
                (
                    "bbox_2d",
                    Schema::Array {
                        items: Box::new(side),
                        min_len: 4,
                        max_len: 4,
                    },
                ),
                ("label", Schema::one_of(self.names.clone())),
            ])),
            min_len: 0,
            max_len: MAX_BOXES,
        };
        let options = JsonOptions {
            alternatives: ALTERNATIVES,
        };
        let answer = self
            .model
            .generate_json(&prompt, &schema, options, &mut observer::until(cancelled))?;
        Ok(Groundings {
            items: grounded(&answer, image),
            ..Groundings::default()
        })
    }

    fn identify(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        let mut out: Vec<Option<Result<Identified, ScanError>>> = crops.iter().map(|_| None).collect();
        let (mut batch, mut places, mut tokens) = (Vec::new(), Vec::new(), 0);
        for (i, crop) in crops.iter().enumerate() {
            let prompt = Prompt::ask([crop.clone()], self.asked(QUESTION));
            match self.model.encode_within(&prompt, CROP_PIXELS) {
                Ok(encoded) => {
                    tokens += encoded.ids.len();
                    batch.push(encoded);
                    places.push(i);
                }
                Err(e) => out[i] = Some(Err(e.into())),
            }
            if tokens >= BATCH_TOKENS || i + 1 == crops.len() {
                let answers = self.identify_batch(&batch, cancelled);
                for (place, answer) in places.drain(..).zip(answers) {
                    out[place] = Some(answer);
                }
                batch.clear();
                tokens = 0;
            }
        }
        out.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dragunov_models::qwen_vl::FieldScore;
    use serde_json::json;

    use super::*;

    #[test]
    fn boxes_go_back_to_the_photo_with_their_labels() {
        // 1120 x 840 seen as 560 x 280: x doubles, y triples.
        let image = ImageInfo::new((1120, 840), (560, 280), 14);
        let value = json!([
            {"bbox_2d": [10, 20, 110, 120], "label": "fried rice"},
            {"bbox_2d": [50, 50, 50, 90], "label": "peas"},
            {"bbox_2d": [300, 100, 700, 290], "label": "plate"},
        ]);
        let score = |i: usize, label: &str, p: f64| FieldScore {
            pointer: format!("/{i}/label"),
            value: json!(label),
            probability: p,
            alternatives: vec![(json!("white rice"), 0.1), (json!("bowl"), 0.05)],
        };
        let answer = JsonAnswer {
            text: value.to_string(),
            value,
            token_ids: Vec::new(),
            fields: vec![
                score(0, "fried rice", 0.8),
                score(1, "peas", 0.9),
                score(2, "plate", 0.7),
            ],
        };
        let found = grounded(&answer, &image);
        assert_eq!(found.len(), 2, "the box without area is dropped");
        let b = found[0].bbox;
        assert_eq!([b.x0, b.y0, b.x1, b.y1], [20.0, 60.0, 220.0, 360.0]);
        assert_eq!(found[0].identity.alternatives, [("white rice".to_owned(), 0.1)]);
        assert_eq!(
            (found[1].identity.kind, found[1].identity.confidence),
            (Kind::Plate, 0.7)
        );
        assert_eq!([found[1].bbox.x1, found[1].bbox.y1], [1120.0, 840.0]);
    }
}
