//! What a user says of the items of a scan, kept as the vision service wants it: all edits since the scan, one an item,
//! always applied to the original.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::FieldError;
use crate::routes::body::{Check, given};

/// Edits of one scan.
const EDITS: usize = 64;
const LABEL: usize = 200;
const NOTE: usize = 500;
const ANSWERS: usize = 16;

/// The option chosen of one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    #[schema(max_length = 100)]
    pub(super) question: String,
    #[schema(max_length = 200)]
    pub option: String,
}

/// All that was said of one item; the contract's shape.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Edit {
    /// Of the original; absent for an item that was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub add: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Told: wins over what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grams: Option<f64>,
    /// Share of it that was eaten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portion: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is said now of one item. Null takes a statement back; what is absent stays as it was said before.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditChange {
    /// `id` of an item of the result; `added-1` is the first that was added.
    #[schema(max_length = 64)]
    pub item: Option<String>,
    /// Instead of `item`: a food that the scan missed; needs `label` and `grams`.
    #[serde(default)]
    pub add: bool,
    /// It is no food, or was not there; false takes that back.
    pub remove: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub label: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 0.5, maximum = 5000)]
    pub grams: Option<Option<f64>>,
    /// 0.5 for half of it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 0.05, maximum = 5)]
    pub portion: Option<Option<f64>>,
    /// Each replaces an earlier one to the same question.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub answers: Vec<Answer>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub note: Option<Option<String>>,
}

impl Edit {
    fn says_nothing(&self) -> bool {
        let only_named = Self {
            item: self.item.clone(),
            ..Self::default()
        };
        !self.add && *self == only_named
    }

    fn take(&mut self, check: &mut Check, at: &str, change: &EditChange) {
        if let Some(remove) = change.remove {
            self.remove = remove;
        }
        if let Some(label) = &change.label {
            self.label = check.maybe_text(&format!("{at}/label"), label.as_deref(), LABEL);
        }
        if let Some(grams) = change.grams {
            self.grams = check.range(&format!("{at}/grams"), grams, 0.5, 5000.0);
        }
        if let Some(portion) = change.portion {
            self.portion = check.range(&format!("{at}/portion"), portion, 0.05, 5.0);
        }
        if let Some(note) = &change.note {
            self.note = check.maybe_text(&format!("{at}/note"), note.as_deref(), NOTE);
        }
        for (i, answer) in change.answers.iter().enumerate() {
            let at = format!("{at}/answers/{i}");
            let answer = Answer {
                question: check.text(&format!("{at}/question"), &answer.question, 100),
                option: check.text(&format!("{at}/option"), &answer.option, 200),
            };
            self.answers.retain(|a| a.question != answer.question);
            self.answers.push(answer);
        }
        if self.answers.len() > ANSWERS {
            check.fail(&format!("{at}/answers"), "too_many");
        }
    }
}

/// What is said so far, with what is said now. `items` are the ids of the original.
///
/// # Errors
/// The fields that cannot be taken; then nothing is.
pub(super) fn merge(said: &[Edit], now: &[EditChange], items: &[&str]) -> Result<Vec<Edit>, Vec<FieldError>> {
    let mut check = Check::default();
    let mut edits = said.to_vec();
    // Places of added items before this change: their names hold for all of it.
    let added: Vec<usize> = (0..edits.len()).filter(|i| edits[*i].add).collect();
    let mut withdrawn = Vec::new();
    if now.is_empty() || now.len() > EDITS {
        check.fail("/edits", if now.is_empty() { "empty" } else { "too_many" });
    }
    for (i, change) in now.iter().take(EDITS).enumerate() {
        let at = format!("/edits/{i}");
        match (&change.item, change.add) {
            (None, true) => {
                let mut edit = Edit {
                    add: true,
                    ..Edit::default()
                };
                if change.remove.is_some() {
                    check.fail(&format!("{at}/remove"), "not_with_add");
                }
                edit.take(&mut check, &at, change);
                for (missing, field) in [(edit.label.is_none(), "label"), (edit.grams.is_none(), "grams")] {
                    if missing {
                        check.fail(&format!("{at}/{field}"), "needed_for_add");
                    }
                }
                edits.push(edit);
            }
            (Some(item), false) => {
                let place = match place(&edits, &added, item, items) {
                    Some(place) => place,
                    None if items.contains(&item.as_str()) => {
                        edits.push(Edit {
                            item: Some(item.clone()),
                            ..Edit::default()
                        });
                        edits.len() - 1
                    }
                    None => {
                        check.fail(&format!("{at}/item"), "unknown_item");
                        continue;
                    }
                };
                if edits[place].add && change.remove == Some(true) {
                    withdrawn.push(place);
                    continue;
                }
                edits[place].take(&mut check, &at, change);
                if edits[place].add && (edits[place].label.is_none() || edits[place].grams.is_none()) {
                    check.fail(&at, "label_and_grams_stay");
                }
            }
            _ => check.fail(&format!("{at}/item"), "item_or_add"),
        }
    }
    let mut place = 0;
    edits.retain(|edit| {
        let keep = !withdrawn.contains(&place) && !edit.says_nothing();
        place += 1;
        keep
    });
    if edits.len() > EDITS {
        check.fail("/edits", "too_many");
    }
    check.into_errors().map(|()| edits)
}

fn place(edits: &[Edit], added: &[usize], item: &str, items: &[&str]) -> Option<usize> {
    if let Some(at) = edits.iter().position(|e| e.item.as_deref() == Some(item)) {
        return Some(at);
    }
    if items.contains(&item) {
        return None;
    }
    let number: usize = item.strip_prefix("added-")?.parse().ok()?;
    added.get(number.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ITEMS: [&str; 2] = ["item-1", "item-2"];

    fn after(said: Value, now: Value) -> Value {
        let said: Vec<Edit> = serde_json::from_value(said).expect("edits");
        let now: Vec<EditChange> = serde_json::from_value(now).expect("changes");
        match merge(&said, &now, &ITEMS) {
            Ok(edits) => json!(edits),
            Err(errors) => json!(
                errors
                    .iter()
                    .map(|e| format!("{} {}", e.pointer, e.code))
                    .collect::<Vec<_>>()
            ),
        }
    }

    #[test]
    fn statements_add_up_and_can_be_taken_back() {
        let said = after(json!([]), json!([{"item": "item-1", "label": "Rye bread"}]));
        let said = after(
            said,
            json!([{"item": "item-1", "grams": 80, "note": "half left"}]),
        );
        let expected = json!({"item": "item-1", "label": "Rye bread", "grams": 80.0, "note": "half left"});
        assert_eq!(said, json!([expected]));
        let said = after(said, json!([{"item": "item-1", "label": null, "note": null}]));
        assert_eq!(said, json!([{"item": "item-1", "grams": 80.0}]));
        assert_eq!(after(said, json!([{"item": "item-1", "grams": null}])), json!([]));
    }

    #[test]
    fn answers_replace_each_other_by_question() {
        let said = after(
            json!([]),
            json!([{"item": "item-1", "answers": [{"question": "oil", "option": "a lot"}]}]),
        );
        let now = json!([{"item": "item-1", "answers": [{"question": "oil", "option": "none"}, {"question": "bowl", "option": "deep"}]}]);
        assert_eq!(
            after(said, now),
            json!([{"item": "item-1", "answers": [{"question": "oil", "option": "none"}, {"question": "bowl", "option": "deep"}]}])
        );
    }

    #[test]
    fn added_items_are_edited_and_withdrawn_by_their_names() {
        let add = |label: &str, grams: f64| json!({"add": true, "label": label, "grams": grams});
        let said = after(json!([]), json!([add("Milk", 250.0), add("Egg", 60.0)]));
        let said = after(said, json!([{"item": "added-2", "grams": 55}]));
        assert_eq!(said[1]["grams"], 55.0);
        // Both names are of before the change.
        let now = json!([{"item": "added-1", "remove": true}, {"item": "added-2", "label": "Boiled egg"}]);
        assert_eq!(after(said, now), json!([add("Boiled egg", 55.0)]));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let cases = [
            (json!([]), json!("/edits empty")),
            (
                json!([{"item": "item-9", "grams": 1}]),
                json!("/edits/0/item unknown_item"),
            ),
            (
                json!([{"item": "added-1", "grams": 1}]),
                json!("/edits/0/item unknown_item"),
            ),
            (json!([{"grams": 1}]), json!("/edits/0/item item_or_add")),
            (
                json!([{"item": "item-1", "add": true}]),
                json!("/edits/0/item item_or_add"),
            ),
            (
                json!([{"add": true, "label": "Egg"}]),
                json!("/edits/0/grams needed_for_add"),
            ),
            (
                json!([{"item": "item-1", "grams": 0}]),
                json!("/edits/0/grams out_of_range"),
            ),
            (
                json!([{"item": "item-1", "grams": 50000}]),
                json!("/edits/0/grams out_of_range"),
            ),
            (
                json!([{"item": "item-1", "portion": 0}]),
                json!("/edits/0/portion out_of_range"),
            ),
            (
                json!([{"item": "item-1", "label": " "}]),
                json!("/edits/0/label empty"),
            ),
            (
                json!([{"item": "item-1", "note": "x".repeat(10_000)}]),
                json!("/edits/0/note too_long"),
            ),
            (
                json!(vec![json!({"add": true, "label": "Egg", "grams": 60}); 65]),
                json!("/edits too_many"),
            ),
        ];
        for (now, error) in cases {
            assert_eq!(after(json!([]), now)[0], error);
        }
    }
}
