//! Answers as language models give them, and as nobody should.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{boxes, wire};
use crate::identify::{Groundings, Kind, MAX_BOXES};

const SENT: [u32; 2] = [1036, 756];
const PHOTO: [usize; 2] = [2048, 1536];

/// Things on a table by shares of the photo's sides.
const TABLE: [(&str, &str, [f64; 4]); 4] = [
    ("plate", "plate", [0.2, 0.2, 0.75, 0.85]),
    ("food", "fried rice", [0.3, 0.35, 0.5, 0.6]),
    ("food", "boiled egg half", [0.5, 0.5, 0.6, 0.62]),
    ("coin", "coin", [0.82, 0.7, 0.87, 0.765]),
];

fn items(frame: [f64; 2]) -> Vec<Value> {
    TABLE
        .iter()
        .map(|(kind, label, b)| {
            let at = [b[0] * frame[0], b[1] * frame[1], b[2] * frame[0], b[3] * frame[1]];
            json!({"bbox_2d": at, "kind": kind, "label": label, "confidence": 0.9,
                   "alternatives": [{"label": "paella", "confidence": 0.1}], "grams": 120})
        })
        .collect()
}

fn read(text: &str) -> Result<Groundings, String> {
    boxes::parse(text, SENT, PHOTO)
}

/// All four things, each where it is.
fn assert_table(text: &str) {
    let found = read(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(found.items.len(), TABLE.len(), "{:?} in {text}", found.dropped);
    for (item, (kind, label, b)) in found.items.iter().zip(TABLE) {
        assert_eq!(
            (item.identity.kind.as_str(), item.identity.label.as_str()),
            (kind, label)
        );
        let at = [item.bbox.x0, item.bbox.y0, item.bbox.x1, item.bbox.y1];
        for (k, (got, share)) in at.iter().zip(b).enumerate() {
            assert!(
                (got / PHOTO[k % 2] as f64 - share).abs() < 0.002,
                "{at:?} for {b:?} in {text}"
            );
        }
    }
}

#[test]
fn the_frame_of_the_boxes_is_found() {
    let pixels = SENT.map(f64::from);
    for frame in [pixels, [1000.0, 1000.0], [1.0, 1.0]] {
        assert_table(&json!({"items": items(frame)}).to_string());
        assert_table(&json!({"frame": frame, "items": items(frame)}).to_string());
        let told = read(&json!({"items": items(frame)}).to_string()).unwrap();
        assert_eq!(told.rescaled_from, (frame != pixels).then_some(frame));
    }
    // As it sees the picture itself, told by the answer.
    assert_table(&json!({"frame": [2072, 1512], "items": items([2072.0, 1512.0])}).to_string());
}

#[test]
fn lists_are_read_in_any_wrapping() {
    let all = items(SENT.map(f64::from));
    let list = json!(all).to_string();
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    let by_name: serde_json::Map<String, Value> = all
        .iter()
        .map(|item| {
            let mut fields = item.clone();
            let name = fields.as_object_mut().unwrap().remove("label").unwrap();
            fields.as_object_mut().unwrap().remove("kind");
            (name.as_str().unwrap().to_owned(), fields)
        })
        .collect();
    let two = format!(
        "Dishes: {} and foods:\n{}",
        json!([all[0]]),
        json!([all[1], all[2], all[3]])
    );
    for text in [
        list.clone(),
        format!("I see [4] things on the {{table}}:\n```json\n{list}\n```\nEnjoy!"),
        json!({"answer": {"dishes": [all[0]], "foods": [all[1], all[2]], "others": [all[3]]}}).to_string(),
        lines.join("\n"),
        two,
        list.replace("},{", "},,{").replace(']', ",]"),
        list.replace('"', "'"),
        format!("{}]}}}}", json!({"items": all})),
        format!("<think>a draft: {list}</think>\n{list}"),
        list.replace(":120", ":\"120 g\"").replace("0.9", "\"90%\""),
        list.replace(":120", ": None"),
    ] {
        assert_table(&text);
    }
    // Names as keys; the order of keys is serde_json's.
    let named = read(&Value::Object(by_name).to_string()).unwrap();
    let mut labels: Vec<&str> = named.items.iter().map(|i| i.identity.label.as_str()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["boiled egg half", "coin", "fried rice", "plate"]);

    let one = read(&all[1].to_string()).unwrap();
    assert_eq!(one.items[0].identity.label, "fried rice", "a single object");
    assert_eq!(one.items[0].identity.grams, Some(120.0));
}

#[test]
fn boxes_come_in_other_forms() {
    for bbox in [
        json!([103.6, 75.6, 518, 378]),
        json!([["103.6", 75.6], [518, 378]]),
        json!("103.6, 75.6, 518, 378"),
        json!({"x0": 103.6, "y0": 75.6, "x1": 518, "y1": 378}),
        json!({"x1": 103.6, "y1": 75.6, "x2": 518, "y2": 378}),
        json!({"left": 103.6, "top": 75.6, "width": 414.4, "height": 302.4}),
        json!([518, 378, 103.6, 75.6]),
    ] {
        let text = json!([{"bbox_2d": bbox, "label": "rice"}]).to_string();
        let found = read(&text).unwrap().items[0].bbox;
        let want = [0.1 * 2048.0, 0.1 * 1536.0, 0.5 * 2048.0, 0.5 * 1536.0];
        for (got, want) in [found.x0, found.y0, found.x1, found.y1].into_iter().zip(want) {
            assert!((got - want).abs() < 0.5, "{text}: {found:?}");
        }
    }
    // Gemini's own key: y first, in thousandths.
    let found = read(r#"[{"box_2d": [100, 200, 500, 900], "label": "rice"}]"#).unwrap();
    let b = found.items[0].bbox;
    assert!((b.x0 - 409.6).abs() < 0.5 && (b.y0 - 153.6).abs() < 0.5, "{b:?}");
}

#[test]
fn what_cannot_be_used_is_told_and_the_rest_kept() {
    let mut all = items(SENT.map(f64::from));
    all.extend([
        json!({"bbox_2d": [1, 2, 3], "label": "peas", "kind": "food"}),
        json!({"bbox_2d": [10, 10, 50, 50], "label": "x", "kind": "spaceship"}),
        json!({"bbox_2d": [10, 10, 10, 50], "label": "line", "kind": "food"}),
        json!({"label": "nowhere", "kind": "food"}),
    ]);
    let found = read(&json!({"items": all}).to_string()).unwrap();
    assert_eq!(
        (found.items.len(), found.dropped.len()),
        (4, 4),
        "{:?}",
        found.dropped
    );
    for word in ["peas", "spaceship", "line", "nowhere"] {
        assert!(
            found.dropped.iter().any(|d| d.contains(word)),
            "{word}: {:?}",
            found.dropped
        );
    }
    assert!(read(r#"{"items": []}"#).unwrap().items.is_empty());
    for nothing in ["", "There is rice.", "{}", "[1, 2, 3]", r#"[{"label": "rice"}]"#] {
        assert!(read(nothing).is_err(), "{nothing}");
    }
}

#[test]
fn one_region_is_named_from_untidy_answers() {
    for text in [
        r#"{"kind": "food", "label": "Rice", "confidence": 0.8, "grams": "120 g"}"#,
        r#"Here you go: [{"kind": "food", "label": "rice", "confidence": "80%", "grams": 120,}]"#,
        r#"```json {'kind': 'Food', 'label': 'rice', 'confidence': 0.8, 'alternatives': null, 'grams': '0.12 kg'"#,
    ] {
        let found = wire::parse(text).unwrap();
        let (kind, label) = (found.kind, found.label.as_str());
        assert_eq!(
            (kind, label, found.confidence),
            (Kind::Food, "rice", 0.8),
            "{text}"
        );
        assert!(found.grams.is_none_or(|g| (g - 120.0).abs() < 1e-9), "{text}");
    }
    for nothing in [
        "",
        "rice",
        "{}",
        r#"{"label": "rice"}"#,
        r#"{"kind": "spaceship", "label": "x"}"#,
    ] {
        assert!(wire::parse(nothing).is_err(), "{nothing}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever comes, reading ends without a panic and what it gives lies on the photo.
    #[test]
    fn anything_can_be_answered(text in "[\\[\\]{}:,\"'a-z0-9. \\\\\n/*-]{0,400}") {
        check(&text);
    }

    /// A good answer with some bytes lost, added or changed.
    #[test]
    fn damaged_answers_give_boxes_on_the_photo(
        at in proptest::collection::vec((0.0..1.0f64, 0..3u8, "[\\[\\]{}:,\"'x0 ]"), 1..6),
    ) {
        let mut text: Vec<char> = json!({"items": items(SENT.map(f64::from))}).to_string().chars().collect();
        for (place, what, with) in at {
            let i = (place * text.len() as f64) as usize;
            match what {
                0 => drop(text.remove(i)),
                1 => text.insert(i, with.chars().next().unwrap_or(' ')),
                _ => text[i] = with.chars().next().unwrap_or(' '),
            }
        }
        let text: String = text.into_iter().collect();
        check(&text);
    }

    /// What stands whole before the cut is kept.
    #[test]
    fn a_cut_off_answer_keeps_its_whole_things(cut in 0.0..1.0f64) {
        let all = items(SENT.map(f64::from));
        let text = json!({"items": all}).to_string();
        let end = (cut * text.len() as f64) as usize;
        let whole = all.iter().filter(|item| {
            let item = item.to_string();
            text.find(&item).is_some_and(|start| start + item.len() <= end)
        });
        let found = read(&text[..end]);
        let told = found.as_ref().is_ok_and(|g| g.dropped.iter().any(|d| d.contains("cut off")));
        prop_assert!(end == text.len() || found.is_err() || told, "a cut-off answer goes without a word");
        let found = found.map(|g| g.items.len()).unwrap_or(0);
        prop_assert!(found >= whole.count(), "{found} of {}", &text[..end]);
    }
}

/// Every answer that differs from a good one by one character: nothing of it is lost without a word.
#[test]
fn no_thing_is_lost_in_silence() {
    let good: Vec<char> = json!({"items": items(SENT.map(f64::from))})
        .to_string()
        .chars()
        .collect();
    let damages = "[]{}:,\"'x0 ".chars().map(Some).chain([None]);
    let (mut whole, mut tried) = (0, 0);
    for with in damages {
        for at in 0..good.len() {
            for instead in [false, true] {
                let mut text = good.clone();
                text.splice(at..at + usize::from(instead || with.is_none()), with);
                let text: String = text.into_iter().collect();
                tried += 1;
                // An answer that cannot be used at all is asked for again, with the reason.
                let Ok(found) = read(&text) else { continue };
                let told: usize = found.dropped.iter().map(|why| lost(why)).sum();
                assert!(
                    found.items.len() + told >= TABLE.len(),
                    "{} and {:?} of {text}",
                    found.items.len(),
                    found.dropped
                );
                whole += usize::from(found.items.len() == TABLE.len());
            }
        }
    }
    // Damage within a name or a number costs nothing; damage to the brackets, keys and quotes of a thing costs that thing.
    assert!(whole * 2 > tried, "{whole} of {tried} are read whole");
}

/// A good answer in which several characters are changed, within one thing: the others are read.
#[test]
fn damage_to_one_thing_costs_no_other() {
    let all: Vec<String> = items(SENT.map(f64::from)).iter().map(Value::to_string).collect();
    let mut random = 5_u64;
    let mut below = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % n
    };
    for _ in 0..2000 {
        let mut damaged: Vec<char> = all[1].chars().collect();
        for _ in 0..=below(4) {
            // Its own brackets and quotes stay, as those of a list of lists would.
            let at = 1 + below(damaged.len() - 2);
            if damaged[at].is_alphanumeric() {
                damaged[at] = ['0', 'x', ' ', '.', '-'][below(5)];
            }
        }
        let damaged: String = damaged.into_iter().collect();
        let text = format!("[{},{damaged},{},{}]", all[0], all[2], all[3]);
        let found = read(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        for label in ["plate", "boiled egg half", "coin"] {
            let kept = found.items.iter().any(|item| item.identity.label == label);
            assert!(kept, "{label} of {text}");
        }
        let told: usize = found.dropped.iter().map(|why| lost(why)).sum();
        assert!(found.items.len() + told >= TABLE.len(), "{text}");
    }
}

/// How many things a reason is about.
fn lost(why: &str) -> usize {
    let unread = why.strip_suffix(" of its items cannot be made out");
    unread.map_or(1, |n| n.parse().unwrap())
}

fn check(text: &str) {
    let _ = wire::parse(text);
    let Ok(found) = read(text) else { return };
    assert!(found.items.len() <= MAX_BOXES && found.dropped.len() <= 20);
    for item in &found.items {
        let b = item.bbox;
        assert!(
            0.0 <= b.x0 && b.x0 < b.x1 && b.x1 <= PHOTO[0] as f64,
            "{b:?} in {text}"
        );
        assert!(
            0.0 <= b.y0 && b.y0 < b.y1 && b.y1 <= PHOTO[1] as f64,
            "{b:?} in {text}"
        );
        assert!((0.0..=1.0).contains(&item.identity.confidence) && !item.identity.label.is_empty());
    }
}
