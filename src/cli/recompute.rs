//! `dragunov recompute`

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::choose::ModelArgs;
use crate::contract::photos::MealPhoto;
use crate::contract::recompute::{Answer, Edit, RecomputeRequest};
use crate::contract::request::{ImageSource, Reference};
use crate::contract::{ErrorCode, ReferenceKind, ScanError};
use crate::recompute::{place, recompute_with};

/// Largest file read, bytes: a result with a mask a pixel and pictures inside.
const MAX_BYTES: u64 = 64 << 20;

/// Correct a scan: change labels, tell grams, add and remove items; every other number moves as it should. Needs no models but to add
/// what lies at a place on the photo.
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
    /// An option of one of an item's questions.
    #[arg(long, value_name = "ITEM:QUESTION=OPTION", value_parser = answer)]
    answer: Vec<(String, Answer)>,
    /// What you say of an item; kept with it.
    #[arg(long, value_name = "ITEM=TEXT", value_parser = pair::<String>)]
    note: Vec<(String, String)>,
    /// A food that the scan missed.
    #[arg(long, value_name = "NAME=GRAMS", value_parser = pair::<f64>)]
    add: Vec<(String, f64)>,
    /// A food that the scan missed, at a pixel of the photo; what it is, if you know.
    #[arg(long, value_name = "X,Y[=NAME]", value_parser = spot::<2>, requires = "photo")]
    add_at: Vec<Spot<2>>,
    /// The same in a box.
    #[arg(long, value_name = "X0,Y0,X1,Y1[=NAME]", value_parser = spot::<4>, requires = "photo")]
    add_box: Vec<Spot<4>>,
    /// The photo of the scan, to look at again.
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
    /// As for the scan.
    #[arg(long, value_name = "DEG", allow_negative_numbers = true, requires = "photo")]
    pitch: Option<f64>,
    /// As for the scan.
    #[arg(long, value_name = "CM", requires = "photo")]
    plate: Option<f64>,
    #[command(flatten)]
    choose: ModelArgs,
}

/// A place on the photo and what lies there.
#[derive(Debug, Clone)]
struct Spot<const N: usize> {
    at: [f64; N],
    label: Option<String>,
}

/// `X,Y` or `X,Y=NAME`
fn spot<const N: usize>(text: &str) -> Result<Spot<N>, String> {
    let (place, label) = match text.split_once('=') {
        Some((place, label)) => (place, Some(label.to_owned())),
        None => (text, None),
    };
    let numbers: Vec<f64> = place.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let at = numbers
        .try_into()
        .map_err(|_| format!("write {N} numbers with commas between them"))?;
    Ok(Spot { at, label })
}

/// `ITEM:QUESTION=OPTION`
fn answer(text: &str) -> Result<(String, Answer), String> {
    let (place, option) = text.split_once('=').ok_or("write ITEM:QUESTION=OPTION")?;
    let (item, question) = place.split_once(':').ok_or("write ITEM:QUESTION=OPTION")?;
    let answer = Answer {
        question: question.to_owned(),
        option: option.to_owned(),
    };
    Ok((item.to_owned(), answer))
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
        if let Some(path) = &self.photo {
            let bytes = std::fs::read(path).map_err(|e| {
                ScanError::new(ErrorCode::NotFound, "cannot read the photo")
                    .source(e)
                    .in_file(path)
            })?;
            request.photo = Some(Box::new(MealPhoto {
                pitch_deg: self.pitch,
                ..MealPhoto::new(ImageSource::Bytes(bytes))
            }));
            request.reference = self.plate.map(|cm| Reference {
                kind: ReferenceKind::Plate,
                diameter_cm: Some(cm),
            });
        }
        let foods = self.choose.foods.read()?;
        let found = match place::scan_of(&request)? {
            Some(scan) => Some(self.choose.scanner(foods.clone())?.scan_request(&scan)?),
            None => None,
        };
        let result = recompute_with(request, found.as_ref(), &foods.current().table)?;
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
            serde_json::from_value(value).map(|original| RecomputeRequest::new(original, Vec::new()))
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
        for (item, answer) in &self.answer {
            edits.entry(item).or_default().answers.push(answer.clone());
        }
        for (item, note) in &self.note {
            edits.entry(item).or_default().note = Some(note.clone());
        }
        let of_items = edits.into_iter().map(|(item, edit)| Edit {
            item: Some(item.to_owned()),
            ..edit
        });
        let told = self.add.iter().map(|(label, grams)| Edit {
            add: true,
            label: Some(label.clone()),
            grams: Some(*grams),
            ..Edit::default()
        });
        let points = self.add_at.iter().map(|spot| Edit {
            add: true,
            label: spot.label.clone(),
            point: Some(spot.at),
            ..Edit::default()
        });
        let boxes = self.add_box.iter().map(|spot| Edit {
            add: true,
            label: spot.label.clone(),
            bbox: Some(spot.at),
            ..Edit::default()
        });
        of_items.chain(told).chain(points).chain(boxes).collect()
    }
}
