//! The JSON in what a model wrote: behind its thoughts, inside its fences, before its apologies.

use serde::Deserialize;
use serde_json::Value;

/// As told; nothing is believed yet.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) restaurant: Option<String>,
    pub(super) items: Vec<Value>,
}

/// Where an object may begin, tried in order.
const TRIES: usize = 16;

pub(super) fn find(text: &str) -> Option<Answer> {
    let text = match text.rsplit_once("</think>") {
        Some((_, behind)) => behind,
        // Cut off inside its thoughts: what looks like an answer there is a draft.
        None if text.contains("<think>") => return None,
        None => text,
    };
    text.match_indices('{').take(TRIES).find_map(|(at, _)| {
        let mut objects = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Answer>();
        objects.next()?.ok()
    })
}

/// What the model is told to answer with. Byte for byte the same in every request: a first use of a schema is slow.
/// `strict` is OpenAI's dialect, which wants every property required and none besides.
pub fn schema() -> Value {
    let text = |most: u32| serde_json::json!({"type": "string", "maxLength": most});
    let number = |most: u32| serde_json::json!({"type": "number", "minimum": 0, "maximum": most});
    serde_json::json!({
        "type": "object", "additionalProperties": false, "required": ["restaurant", "items"],
        "properties": {
            "restaurant": text(120),
            "items": {"type": "array", "maxItems": super::ITEMS, "items": {
                "type": "object", "additionalProperties": false,
                "required": ["name", "serving", "kcal", "protein_g", "carbs_g", "fat_g", "alcohol"],
                "properties": {
                    "name": text(120), "serving": text(60), "kcal": number(3000), "protein_g": number(300),
                    "carbs_g": number(300), "fat_g": number(300), "alcohol": {"type": "boolean"}
                }
            }}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_wherever_it_stands() {
        let object = r#"{"restaurant":"X","items":[{"name":"a"}]}"#;
        for text in [
            object.to_owned(),
            format!("```json\n{object}\n```"),
            format!("<think>perhaps {{\"items\":[]}}</think>\nHere {{it}} is: {object} Enjoy!"),
            format!("{{\"note\": 1}} {object}"),
        ] {
            assert_eq!(find(&text).unwrap().items.len(), 1, "{text}");
        }
        for text in [
            "",
            "I am sorry, I cannot help with that.",
            "[1]",
            "{\"items\": 3}",
            &object[..object.len() - 2],
            &format!("<think>perhaps {object}"),
            &"{".repeat(100_000),
        ] {
            assert!(find(text).is_none(), "{}", &text[..text.len().min(40)]);
        }
    }
}
