//! A scan's result with a person's corrections: told grams win, and say how far the photo's scale was off, so that every
//! other item moves and narrows. Pure and stateless.
//!
//! Every measured volume is log-normal, ln V = ln V_measured + a z + b e, with the shared error z of the photo and an own
//! error e, both standard normal (`volume_sigma_ln`: a shared, b own). A told mass m of an item of density rho observes
//! y = ln m - ln(V rho) = a z + noise of variance b^2 + sd(ln rho)^2 + sd(ln m)^2. Several such observations give z a normal
//! posterior of precision 1 + sum a^2 / n and mean sum(a y / n) over it; the others' volumes move by a times the mean of z, and their
//! shared error shrinks by its standard deviation.

pub mod place;

use crate::contract::recompute::{
    Answer, Edit, MAX_EDITS, MAX_NOTE_CHARS, Origin, Origins, PORTION, RecomputeRequest, TOLD_GRAMS,
};
use crate::contract::result::{Item, NutrientDetails, ScanResult, VolumeBounds, VolumeSigma};
use crate::contract::{ErrorCode, Estimated, ItemFlag, ScanError, flag};
use crate::nutrition::{
    FoodTable, ItemInput, MatchKind, Note, Nourished, TOLD_SIGMA_LN, Volume, nourish_noted,
};

/// Standard deviation of ln(density) that a food's form on the plate adds to its row's.
const FORM_SIGMA_LN: f64 = 0.05;
/// Characters of a label.
const MAX_LABEL_CHARS: usize = 200;
/// What a result that comes back may say of an item's volume and of the camera's height, cm: far more than any scan answers.
const MAX_VOLUME_CM3: f64 = 1e6;
const HEIGHT_CM: std::ops::RangeInclusive<f64> = 0.1..=1e5;
/// The question that asks which food it is.
const IDENTITY_QUESTION: &str = "identity";

/// The new result; the original is kept inside.
///
/// # Errors
/// `invalid_field` naming the edit that cannot be applied. Nothing is applied then.
pub fn recompute(request: RecomputeRequest, foods: &FoodTable) -> Result<ScanResult, ScanError> {
    recompute_with(request, None, foods)
}

/// [`recompute`] with what a scan of the photo found at the places of the edits ([`place::scan_of`]).
///
/// # Errors
/// As [`recompute`]; `no_food` where nothing was found at a place.
pub fn recompute_with(
    request: RecomputeRequest,
    found: Option<&ScanResult>,
    foods: &FoodTable,
) -> Result<ScanResult, ScanError> {
    let placed = place::items(&request, found)?;
    let original = *request.original;
    check_original(&original)?;
    let edits = check(&original, &request.edits)?;
    let mut plan: Vec<Planned<'_>> = original
        .items
        .iter()
        .filter_map(|item| {
            let edit = edits
                .iter()
                .copied()
                .find(|e| e.item.as_deref() == Some(item.id.as_str()));
            (!edit.is_some_and(|e| e.remove)).then(|| Planned::of_item(item, edit))
        })
        .collect();
    let added = edits.iter().enumerate().filter(|(_, edit)| edit.add);
    plan.extend(added.map(|(i, edit)| match placed.get(&i) {
        Some(item) => Planned {
            added: true,
            ..Planned::of_item(item, Some(edit))
        },
        None => Planned::added(edit),
    }));
    let shared = SharedError::of(&plan, foods);
    for planned in &mut plan {
        planned.correct(shared);
    }

    let inputs: Vec<ItemInput> = plan.iter().map(Planned::input).collect();
    let note = original
        .note
        .as_ref()
        .map(|note| Note::read(&note.text))
        .unwrap_or_default();
    let meal = nourish_noted(foods, &inputs, &note).map_err(|e| invalid(e.to_string()).source(e))?;
    let mut result = original.clone();
    let mut ids = FreshIds::of(&original);
    result.items = plan
        .iter()
        .zip(meal.items)
        .map(|(planned, weighed)| planned.item(weighed, &mut ids))
        .collect();
    result.totals = meal.totals;
    result
        .warnings
        .retain(|w| w.code != crate::contract::WarningCode::MealImplausible);
    result.warnings.extend(meal.warnings);
    result.edits = request.edits;
    result.original = Some(Box::new(original));
    Ok(result)
}

fn invalid(message: impl Into<String>) -> ScanError {
    ScanError::new(ErrorCode::InvalidField, message)
}

fn check_original(original: &ScanResult) -> Result<(), ScanError> {
    if original.original.is_some() || !original.edits.is_empty() {
        return Err(invalid("original: this result was recomputed already").next_step(
            "send its `original`, with all edits since: a correction starts from what was measured",
        ));
    }
    let impossible = |what: String| invalid(what).next_step("send the result of a scan unchanged");
    if !HEIGHT_CM.contains(&original.scale.camera_height_cm.p50) {
        return Err(impossible("original.scale: no photo was taken from there".into()));
    }
    // Sums of rounded shares may pass 1 by a little.
    let share = |v: f64| (0.0..=1.0 + 1e-6).contains(&v);
    let sigma = |v: f64| (0.0..=5.0).contains(&v);
    for item in &original.items {
        let volume = item.volume_cm3.p50;
        let measured = volume > 0.0
            && volume <= MAX_VOLUME_CM3
            && sigma(item.volume_sigma_ln.shared)
            && sigma(item.volume_sigma_ln.own);
        let named = share(item.confidence) && item.alternatives.iter().all(|other| share(other.confidence));
        if !measured || !named {
            let what = if measured { "confidence" } else { "volume" };
            let id = begin(&item.id);
            return Err(impossible(format!("original.items[{id}]: its {what} cannot be")));
        }
    }
    Ok(())
}

/// The edits, each found to be one that can be applied.
fn check<'a>(original: &ScanResult, edits: &'a [Edit]) -> Result<Vec<&'a Edit>, ScanError> {
    if edits.len() > MAX_EDITS {
        return Err(invalid(format!(
            "edits: {} of them; {MAX_EDITS} at most",
            edits.len()
        )));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (i, edit) in edits.iter().enumerate() {
        let wrong = |what: String| invalid(format!("edits[{i}].{what}"));
        match (&edit.item, edit.add) {
            (Some(id), false) => {
                if !original.items.iter().any(|item| item.id == *id) {
                    let known: Vec<&str> = original.items.iter().take(20).map(|i| i.id.as_str()).collect();
                    return Err(wrong(format!("item: no item is called {:?}", begin(id)))
                        .next_step(format!("the original's items are {}", known.join(", "))));
                }
                if seen.contains(&id.as_str()) {
                    return Err(wrong(format!("item: {:?} is edited twice", begin(id)))
                        .next_step("put all that is said of an item into one edit"));
                }
                seen.push(id);
            }
            (None, true) => {
                if !edit.has_place() && (edit.label.is_none() || edit.grams.is_none()) {
                    return Err(
                        wrong("add: a food that was not measured needs a label and grams".into())
                            .next_step("tell both, or its place on the photo with the photo"),
                    );
                }
            }
            _ => {
                return Err(wrong("item: say which item, or add: true".into()));
            }
        }
        if edit.has_place() && !edit.add {
            return Err(wrong("point: only a food that is added has a place".into()));
        }
        check_values(edit, &wrong)?;
    }
    Ok(edits.iter().collect())
}

fn check_values(edit: &Edit, wrong: &dyn Fn(String) -> ScanError) -> Result<(), ScanError> {
    if let Some(label) = &edit.label
        && (label.trim().is_empty() || label.chars().count() > MAX_LABEL_CHARS)
    {
        return Err(wrong(format!("label: 1 to {MAX_LABEL_CHARS} characters")));
    }
    if let Some(grams) = edit.grams.filter(|g| !TOLD_GRAMS.contains(g)) {
        return Err(wrong(format!(
            "grams: {grams} is not between {} and {}",
            TOLD_GRAMS.start(),
            TOLD_GRAMS.end()
        ))
        .next_step(if grams < *TOLD_GRAMS.start() {
            "remove the item if there is none of it"
        } else {
            "tell the grams of this item on these photos alone"
        }));
    }
    if let Some(portion) = edit.portion.filter(|p| !PORTION.contains(p)) {
        return Err(wrong(format!(
            "portion: {portion} is not between {} and {}",
            PORTION.start(),
            PORTION.end()
        )));
    }
    if edit
        .note
        .as_ref()
        .is_some_and(|n| n.chars().count() > MAX_NOTE_CHARS)
    {
        return Err(wrong(format!("note: {MAX_NOTE_CHARS} characters at most")));
    }
    if edit.answers.len() > 8 {
        return Err(wrong("answers: 8 at most".into()));
    }
    let says = edit.label.is_some()
        || edit.grams.is_some()
        || edit.portion.is_some()
        || edit.note.is_some()
        || !edit.answers.is_empty()
        || edit.has_place();
    match (edit.remove, says) {
        (true, true) => Err(wrong(
            "remove: an item that is removed is not corrected as well".into(),
        )),
        (false, false) => Err(wrong("item: this edit changes nothing".into())),
        _ => Ok(()),
    }
}

/// The beginning of a sender's text.
fn begin(text: &str) -> String {
    text.chars().take(40).collect()
}

/// One item of the new result on its way.
struct Planned<'a> {
    /// It was not among the scan's items.
    added: bool,
    measured: Option<&'a Item>,
    edit: Option<&'a Edit>,
    label: String,
    volume: Volume,
}

impl<'a> Planned<'a> {
    fn of_item(item: &'a Item, edit: Option<&'a Edit>) -> Self {
        let chosen = edit.and_then(|e| {
            let identity = e.answers.iter().find(|a| a.question == IDENTITY_QUESTION);
            e.label.as_ref().or(identity.map(|a| &a.option))
        });
        Self {
            added: false,
            measured: Some(item),
            edit,
            label: chosen.unwrap_or(&item.label).trim().to_owned(),
            volume: Volume {
                p50_cm3: item.volume_cm3.p50,
                sigma_shared_ln: item.volume_sigma_ln.shared,
                sigma_own_ln: item.volume_sigma_ln.own,
            },
        }
    }

    /// Weighed by a person, seen by nobody: its volume follows from its mass.
    fn added(edit: &'a Edit) -> Self {
        Self {
            added: true,
            measured: None,
            edit: Some(edit),
            label: edit.label.clone().unwrap_or_default().trim().to_owned(),
            volume: Volume {
                p50_cm3: edit.grams.unwrap_or(1.0),
                sigma_shared_ln: 0.0,
                sigma_own_ln: 0.0,
            },
        }
    }

    fn grams(&self) -> Option<f64> {
        self.edit.and_then(|e| e.grams)
    }

    /// Told, or chosen as an answer.
    fn label_told(&self) -> bool {
        self.measured.is_none_or(|item| item.label != self.label)
            || self.edit.is_some_and(|e| {
                e.label.is_some() || e.answers.iter().any(|a| a.question == IDENTITY_QUESTION)
            })
    }

    fn correct(&mut self, shared: SharedError) {
        if self.grams().is_none() {
            self.volume.p50_cm3 *= (self.volume.sigma_shared_ln * shared.mean).exp();
            self.volume.sigma_shared_ln *= shared.sd;
        }
    }

    fn input(&self) -> ItemInput {
        let kept = self.measured.filter(|_| !self.label_told());
        let answers: &[Answer] = self.edit.map_or(&[], |e| &e.answers);
        ItemInput {
            label: self.label.clone(),
            confidence: kept.map_or(1.0, |item| item.confidence),
            alternatives: kept.map_or_else(Vec::new, |item| {
                let others = item.alternatives.iter();
                others.map(|a| (a.label.clone(), a.confidence)).collect()
            }),
            volume: self.volume,
            form: None,
            vlm: None,
            told_g: self.grams(),
            portion: self.edit.and_then(|e| e.portion).unwrap_or(1.0),
            answers: answers
                .iter()
                .filter(|a| a.question != IDENTITY_QUESTION)
                .map(|a| (a.question.clone(), a.option.clone()))
                .collect(),
        }
    }

    fn item(&self, weighed: Nourished, ids: &mut FreshIds) -> Item {
        let told_mass = self.grams();
        let volume_cm3 = match told_mass {
            Some(grams) => {
                let sigma = weighed.density_g_cm3.sigma_ln().hypot(TOLD_SIGMA_LN);
                Estimated::log_normal(grams / weighed.density_g_cm3.p50, sigma)
            }
            None => Estimated::log_normal(
                self.volume.p50_cm3,
                self.volume.sigma_shared_ln.hypot(self.volume.sigma_own_ln),
            ),
        };
        let mut base = self.measured.cloned().unwrap_or_else(unseen);
        if self.added {
            base.id = ids.next();
        }
        let of_photo = base.flags.iter().copied().filter(|f| !OF_FOOD.contains(f));
        Item {
            label: self.label.clone(),
            food_id: weighed.food_id.as_ref().map(|id| id.as_str().to_owned()),
            confidence: if self.label_told() { 1.0 } else { base.confidence },
            volume_cm3,
            volume_sigma_ln: VolumeSigma {
                shared: if told_mass.is_some() {
                    0.0
                } else {
                    self.volume.sigma_shared_ln
                },
                own: if told_mass.is_some() {
                    volume_cm3.sigma_ln()
                } else {
                    self.volume.sigma_own_ln
                },
            },
            origins: self.origins(&weighed),
            note: self.edit.and_then(|e| e.note.clone()),
            density_g_cm3: weighed.density_g_cm3,
            mass_g: weighed.mass_g,
            kcal: weighed.kcal,
            protein_g: weighed.protein_g,
            carbs_g: weighed.carbs_g,
            fat_g: weighed.fat_g,
            details: weighed.details,
            alternatives: weighed.alternatives,
            flags: flag::distinct(of_photo.chain(weighed.flags)),
            questions: weighed.questions,
            ..base
        }
    }

    fn origins(&self, weighed: &Nourished) -> Origins {
        let told = |is: bool, otherwise| if is { Origin::Told } else { otherwise };
        let known = weighed.match_kind != MatchKind::Unknown;
        let looked_up = if known { Origin::LookedUp } else { Origin::Assumed };
        Origins {
            label: told(self.label_told(), Origin::Measured),
            // Of an item that was weighed the volume follows from mass and density.
            volume: if self.grams().is_some() {
                looked_up
            } else {
                Origin::Measured
            },
            density: looked_up,
            mass: told(self.grams().is_some(), Origin::Measured),
            nutrients: looked_up,
        }
    }
}

/// Flags that a food's row and weight give; the others are about the photo and stay.
const OF_FOOD: &[ItemFlag] = &[
    ItemFlag::LabelFuzzy,
    ItemFlag::LabelCategory,
    ItemFlag::LabelUnknown,
    ItemFlag::LabelAmount,
    ItemFlag::LabelAmountDisagrees,
    ItemFlag::Leaf,
    ItemFlag::MassFused,
    ItemFlag::VlmGramsDisagree,
    ItemFlag::MassImplausible,
    ItemFlag::EnergyCheck,
];

/// An item that was told and not seen.
fn unseen() -> Item {
    let nothing = Estimated::exact(0.0);
    Item {
        id: String::new(),
        label: String::new(),
        food_id: None,
        confidence: 1.0,
        alternatives: Vec::new(),
        bbox: [0.0; 4],
        mask: None,
        photo: 0,
        volume_cm3: nothing,
        volume_sigma_ln: VolumeSigma {
            shared: 0.0,
            own: 0.0,
        },
        volume_bounds: VolumeBounds {
            visible_columns_cm3: 0.0,
            frustum_cm3: 0.0,
        },
        mean_height_cm: 0.0,
        footprint_cm2: 0.0,
        density_g_cm3: nothing,
        mass_g: nothing,
        kcal: nothing,
        protein_g: nothing,
        carbs_g: nothing,
        fat_g: nothing,
        details: NutrientDetails::default(),
        origins: Origins::default(),
        note: None,
        pieces: 1,
        flags: Vec::new(),
        questions: Vec::new(),
    }
}

/// Ids that the original does not have.
struct FreshIds {
    taken: Vec<String>,
    last: usize,
}

impl FreshIds {
    fn of(original: &ScanResult) -> Self {
        Self {
            taken: original.items.iter().map(|i| i.id.clone()).collect(),
            last: 0,
        }
    }

    fn next(&mut self) -> String {
        loop {
            self.last += 1;
            let id = format!("added-{}", self.last);
            if !self.taken.contains(&id) {
                return id;
            }
        }
    }
}

/// What told masses say of the error that all volumes of the photo share, in units of its standard deviation.
#[derive(Debug, Clone, Copy)]
struct SharedError {
    mean: f64,
    sd: f64,
}

impl SharedError {
    fn of(plan: &[Planned<'_>], foods: &FoodTable) -> Self {
        let (mut precision, mut sum) = (1.0, 0.0);
        for planned in plan {
            let (Some(grams), a) = (planned.grams(), planned.volume.sigma_shared_ln) else {
                continue;
            };
            let food = foods.lookup(&planned.label).food;
            let density = food.density(food.usual_form());
            let y = (grams / (planned.volume.p50_cm3 * density.p50)).ln();
            let noise = planned.volume.sigma_own_ln.powi(2)
                + density.sigma_ln().hypot(FORM_SIGMA_LN).powi(2)
                + TOLD_SIGMA_LN.powi(2);
            precision += a * a / noise;
            sum += a * y / noise;
        }
        Self {
            mean: sum / precision,
            sd: precision.recip().sqrt(),
        }
    }
}
