//! A result of the vision service, which came over the network: checked, its pictures taken out, and what a diary needs of
//! it. What is not read here is kept as it came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Items of one meal.
const ITEMS: usize = 100;
/// Bytes of a result without its pictures.
const BYTES: usize = 4 << 20;
/// Characters of a diary entry's name.
const NAME: usize = 200;
/// No meal has more, of anything.
const MOST: f64 = 100_000.0;
const TOTALS: [&str; 5] = ["mass_g", "kcal", "protein_g", "carbs_g", "fat_g"];

/// Why a result is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result is not one: {0}")]
pub struct NoResult(pub &'static str);

/// A result that can be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// Without pictures.
    pub result: Value,
    /// PNG.
    pub overlay: Option<Vec<u8>>,
    /// PNG.
    pub depth: Option<Vec<u8>>,
}

/// What a diary entry says of a meal.
#[derive(Debug, Clone, PartialEq)]
pub struct Meal {
    pub food_name: String,
    /// kcal.
    pub calories: i32,
    pub protein_g: i32,
    pub carbs_g: i32,
    pub fats_g: i32,
    /// Items with intervals and what each number rests on.
    pub meta_data: Map<String, Value>,
}

/// # Errors
/// [`NoResult`].
pub fn scanned(mut result: Value) -> Result<Scanned, NoResult> {
    let map = result.as_object_mut().ok_or(NoResult("no object"))?;
    let mut picture = |key: &str| map.remove(key).as_ref().and_then(Value::as_str).and_then(png);
    let (overlay, depth) = (picture("overlay"), picture("depth"));
    // Echoed by the service, and not its to say.
    map.remove("user_id");
    check(&result)?;
    Ok(Scanned {
        result,
        overlay,
        depth,
    })
}

fn png(text: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(text)
        .ok()
        .filter(|bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n"))
}

fn check(result: &Value) -> Result<(), NoResult> {
    let items = result["items"].as_array().ok_or(NoResult("no items"))?;
    if items.len() > ITEMS {
        return Err(NoResult("too many items"));
    }
    let mut ids = std::collections::HashSet::new();
    for item in items {
        let short = |key: &str, most: usize| {
            item[key]
                .as_str()
                .filter(|t| !t.is_empty() && t.chars().count() <= most)
                .ok_or(NoResult("an item without id or label"))
        };
        short("label", 300)?;
        if !ids.insert(short("id", 64)?) {
            return Err(NoResult("an id twice"));
        }
        TOTALS
            .iter()
            .try_for_each(|of| estimate(&item[*of]).map(|_| ()))?;
    }
    TOTALS
        .iter()
        .try_for_each(|of| estimate(&result["totals"][*of]).map(|_| ()))?;
    let text = result.to_string();
    if text.len() > BYTES {
        return Err(NoResult("too large"));
    }
    // PostgreSQL takes no NUL in text.
    if text.contains("\\u0000") {
        return Err(NoResult("a NUL in a text"));
    }
    Ok(())
}

/// p10, p50, p90 in order and of this world.
fn estimate(value: &Value) -> Result<[f64; 3], NoResult> {
    let number = |key: &str| {
        value[key]
            .as_f64()
            .filter(|v| (0.0..=MOST).contains(v))
            .ok_or(NoResult("an amount that cannot be"))
    };
    let [p10, p50, p90] = [number("p10")?, number("p50")?, number("p90")?];
    if p10 > p50 || p50 > p90 {
        return Err(NoResult("an interval upside down"));
    }
    Ok([p10, p50, p90])
}

/// Ids of the items.
pub fn item_ids(result: &Value) -> Vec<&str> {
    let items = result["items"].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(|i| i["id"].as_str()).collect()
}

/// The diary entry of a checked result.
pub fn meal(result: &Value) -> Meal {
    let p50 = |value: &Value| value["p50"].as_f64().unwrap_or_default();
    let total = |of: &str| half_up(p50(&result["totals"][of]));
    let mut by_energy: Vec<&Value> = result["items"].as_array().into_iter().flatten().collect();
    let items: Vec<Value> = by_energy.iter().map(|item| brief(item)).collect();
    by_energy.sort_by(|a, b| p50(&b["kcal"]).total_cmp(&p50(&a["kcal"])));
    let names: Vec<&str> = by_energy.iter().filter_map(|i| i["label"].as_str()).collect();
    let mut meta = Map::new();
    meta.insert("items".into(), items.into());
    let totals: Map<_, _> = TOTALS
        .iter()
        .map(|of| ((*of).to_owned(), rounded(&result["totals"][*of])))
        .collect();
    meta.insert("totals".into(), totals.into());
    Meal {
        food_name: name(&names),
        calories: total("kcal"),
        protein_g: total("protein_g"),
        carbs_g: total("carbs_g"),
        fats_g: total("fat_g"),
        meta_data: meta,
    }
}

fn half_up(value: f64) -> i32 {
    (value + 0.5).floor() as i32
}

fn tenth(value: &Value) -> Value {
    json!((value.as_f64().unwrap_or_default() * 10.0).round() / 10.0)
}

fn rounded(value: &Value) -> Value {
    json!({"p10": tenth(&value["p10"]), "p50": tenth(&value["p50"]), "p90": tenth(&value["p90"])})
}

/// An item without outline and alternatives.
fn brief(item: &Value) -> Value {
    let mut out = Map::new();
    for key in ["id", "label", "food_id", "confidence", "origins", "note"] {
        if let Some(value) = item.get(key).filter(|v| !v.is_null()) {
            out.insert(key.into(), value.clone());
        }
    }
    for key in TOTALS {
        out.insert(key.into(), rounded(&item[key]));
    }
    Value::Object(out)
}

/// The largest first, as many as fit.
fn name(labels: &[&str]) -> String {
    let mut name = String::new();
    for label in labels {
        let label: String = label.chars().filter(|c| !c.is_control()).take(NAME).collect();
        let glue = if name.is_empty() { "" } else { ", " };
        if name.chars().count() + glue.len() + label.chars().count() > NAME {
            break;
        }
        name.push_str(glue);
        name.push_str(&label);
    }
    if name.trim().is_empty() {
        return "Meal".into();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> Value {
        serde_json::from_str(include_str!("../../../fixtures/contract/scan_result.json")).expect("JSON")
    }

    #[test]
    fn the_contracts_example_becomes_a_meal() {
        let mut result = fixture();
        result["overlay"] = json!(STANDARD.encode(b"\x89PNG\r\n\x1a\nrest"));
        result["depth"] = json!("s3://elsewhere/depth.png");
        result["user_id"] = json!("somebody");
        let scanned = scanned(result).expect("a result");
        assert!(scanned.overlay.is_some() && scanned.depth.is_none());
        assert!(scanned.result.get("overlay").is_none() && scanned.result.get("user_id").is_none());
        let meal = meal(&scanned.result);
        assert_eq!(meal.food_name, "burger patty, spaghetti");
        assert_eq!(
            (meal.calories, meal.protein_g, meal.carbs_g, meal.fats_g),
            (708, 63, 31, 35)
        );
        let items = meal.meta_data["items"].as_array().expect("items");
        assert_eq!((items.len(), &items[0]["mass_g"]["p50"]), (2, &json!(101.6)));
        assert_eq!(items[0]["origins"]["mass"], "measured");
        assert_eq!(item_ids(&scanned.result), ["item_1", "item_2"]);
    }

    #[test]
    fn a_corrected_result_is_one_too() {
        let corrected = include_str!("../../../fixtures/contract/recompute_result.json");
        let corrected: Value = serde_json::from_str(corrected).expect("JSON");
        let meal = meal(&scanned(corrected).expect("a result").result);
        assert_eq!(meal.calories, 621);
        let told = &meal.meta_data["items"][1];
        assert_eq!(
            (&told["origins"]["mass"], &told["mass_g"]["p50"]),
            (&json!("told"), &json!(200.0))
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |pointer: &str, value: Value| {
            let mut result = fixture();
            *result.pointer_mut(pointer).expect("there") = value;
            scanned(result).expect_err(pointer)
        };
        assert_eq!(scanned(json!([])), Err(NoResult("no object")));
        with("/items", json!({}));
        with("/items", json!(vec![fixture()["items"][0].clone(); 101]));
        with("/items/0/id", json!("item_2"));
        with("/items/0/label", json!(""));
        with("/items/0/kcal/p50", json!(-1));
        with("/items/0/kcal/p50", json!(null));
        with("/items/0/kcal/p90", json!(1));
        with("/totals/kcal/p50", json!(1e9));
        with("/totals", json!(null));
        with("/items/0/label", json!("a\0b"));
        with("/models/set", json!("x".repeat(5 << 20)));
    }

    #[test]
    fn names_fit() {
        assert_eq!(name(&[]), "Meal");
        let long = "x".repeat(300);
        assert_eq!(name(&[&long]).chars().count(), 200);
        assert_eq!(name(&["Rice", &long, "Egg"]), "Rice");
    }
}
