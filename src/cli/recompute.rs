//! `dragunov recompute`

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::food_args::FoodArgs;
use crate::contract::recompute::{Edit, RecomputeRequest};
use crate::contract::{ErrorCode, ScanError};
use crate::recompute::recompute;

/// Largest file read, bytes: a result with a mask a pixel and pictures inside.
const MAX_BYTES: u64 = 64 << 20;

/// Correct a scan: change labels, tell grams, remove items; every other number moves as it should. Needs no models.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What `scan --json` wrote, or the body of `POST /v1/recompute`; `-` reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What an item weighs.
    #[arg(long, value_name = "ITEM=GRAMS", value_parser = pair::<f64>)]
    grams: Vec<(String, f64)>,
    /// What an item is.
    #[arg(long, value_name = "ITEM=NAME", value_parser = pair::<String>)]
    label: Vec<(String, String)>,
    /// How much of an item counts, 0.5 for half of it.
    #[arg(long, value_name = "ITEM=SHARE", value_parser = pair::<f64>)]
    portion: Vec<(String, f64)>,
    /// An item that is no food.
    #[arg(long, value_name = "ITEM")]
    remove: Vec<String>,
    #[command(flatten)]
    foods: FoodArgs,
}

/// `ITEM=VALUE`
fn pair<T: std::str::FromStr>(text: &str) -> Result<(String, T), String> {
    let (item, value) = text.split_once('=').ok_or("write ITEM=VALUE")?;
    let value = value
        .parse()
        .map_err(|_| format!("{value:?} is no value for this"))?;
    Ok((item.to_owned(), value))
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let mut request = self.request()?;
        request.edits.extend(self.edits());
        let result = recompute(request, &self.foods.read()?.current().table)?;
        let text = serde_json::to_string_pretty(&result).map_err(|e| {
            ScanError::new(ErrorCode::Internal, "the answer cannot be written as JSON").source(e)
        })?;
        println!("{text}");
        Ok(())
    }

    fn request(&self) -> Result<RecomputeRequest, ScanError> {
        let bad = |why: String| ScanError::new(ErrorCode::BadRequest, why).in_file(&self.file);
        let bytes = self.bytes().map_err(|e| bad(e.to_string()).source(e))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(bad(format!("is larger than {} MB", MAX_BYTES >> 20)));
        }
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let read = if value.get("original").is_some() && value.get("items").is_none() {
            serde_json::from_value(value)
        } else {
            serde_json::from_value(value).map(|original| RecomputeRequest {
                original,
                edits: Vec::new(),
            })
        };
        read.map_err(|e| {
            bad(e.to_string()).next_step("give the JSON that `dragunov scan PHOTO --json` writes")
        })
    }

    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin()
                .lock()
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)?;
        } else {
            std::fs::File::open(&self.file)?
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// One edit an item from the flags.
    fn edits(&self) -> Vec<Edit> {
        let mut edits: BTreeMap<&str, Edit> = BTreeMap::new();
        for (item, grams) in &self.grams {
            edits.entry(item).or_default().grams = Some(*grams);
        }
        for (item, label) in &self.label {
            edits.entry(item).or_default().label = Some(label.clone());
        }
        for (item, portion) in &self.portion {
            edits.entry(item).or_default().portion = Some(*portion);
        }
        for item in &self.remove {
            edits.entry(item).or_default().remove = true;
        }
        edits
            .into_iter()
            .map(|(item, edit)| Edit {
                item: Some(item.to_owned()),
                ..edit
            })
            .collect()
    }
}
