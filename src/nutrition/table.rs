//! The food table: rows, an index of their names, and averages to fall back on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use crate::contract::Estimated;
use crate::geometry::Portion;

use super::csv;
use super::food::{Basis, Details, Food, FoodId, Nutrients, Tier};
use super::names::Names;
use super::portions::{self, UsualPortion};
use super::row::{FoodRow, RowError};
use super::text;

/// Every food known, immutable.
#[derive(Debug, Clone)]
pub struct FoodTable {
    foods: Vec<Food>,
    by_id: HashMap<FoodId, usize>,
    pub(super) names: Names,
    /// Averages by category.
    pub(super) categories: BTreeMap<String, Food>,
    /// Average over everything that is eaten from a plate.
    pub(super) unknown: Food,
}

/// Rows that do not make a table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    #[error("line {line}: {error}")]
    Line {
        /// Of the CSV text, counted from 1.
        line: usize,
        error: Box<TableError>,
    },
    #[error("{0}")]
    Csv(String),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error("food id {0} occurs twice")]
    DuplicateId(FoodId),
    #[error("{name:?} names both {first} and {second}")]
    DuplicateName {
        name: String,
        first: String,
        second: String,
    },
    #[error("the food table has no rows")]
    Empty,
}

impl FoodTable {
    /// The table compiled into this program.
    ///
    /// # Panics
    /// Never: a test of this crate checks the compiled-in rows.
    #[allow(clippy::expect_used)]
    pub fn builtin() -> Arc<Self> {
        static TABLE: OnceLock<Arc<FoodTable>> = OnceLock::new();
        Arc::clone(TABLE.get_or_init(|| {
            let mut rows = Self::rows_of(include_str!("foods.csv"))
                .expect("the compiled-in core rows")
                .0;
            rows.extend(
                Self::rows_of(include_str!("foods_usda.csv"))
                    .expect("the compiled-in USDA rows")
                    .0,
            );
            Arc::new(Self::from_rows(rows).expect("the compiled-in food table"))
        }))
    }

    /// From CSV text with the columns of [`FoodRow`], in any order; other columns are ignored.
    ///
    /// # Errors
    /// [`TableError`] naming the first line and column at fault.
    pub fn from_csv(text: &str) -> Result<Self, TableError> {
        let (rows, lines) = Self::rows_of(text)?;
        Self::build(rows).map_err(|(row, error)| match row.and_then(|i| lines.get(i)) {
            Some(&line) => TableError::Line {
                line,
                error: Box::new(error),
            },
            None => error,
        })
    }

    /// Rows of CSV text and their lines; the columns behind the first twenty may be missing.
    fn rows_of(text: &str) -> Result<(Vec<FoodRow>, Vec<usize>), TableError> {
        let at_line = |line: usize| {
            move |error: TableError| TableError::Line {
                line,
                error: Box::new(error),
            }
        };
        let mut records = csv::records(text)
            .map_err(|line| at_line(line)(TableError::Csv("a quote is out of place".into())))?
            .into_iter();
        let header = records.next().ok_or(TableError::Empty)?;
        let column = |name: &str| {
            header
                .fields
                .iter()
                .position(|h| h == name)
                .ok_or_else(|| at_line(header.line)(TableError::Csv(format!("column {name} is missing"))))
        };
        let at: Vec<Option<usize>> = COLUMNS
            .iter()
            .enumerate()
            .map(|(i, c)| match column(c) {
                Ok(at) => Ok(Some(at)),
                Err(_) if i >= REQUIRED_COLUMNS => Ok(None),
                Err(missing) => Err(missing),
            })
            .collect::<Result<_, _>>()?;
        let mut lines = Vec::new();
        let mut rows = Vec::new();
        for record in records {
            let (found, expected) = (record.fields.len(), header.fields.len());
            if found != expected {
                let message = format!("{found} fields instead of {expected}");
                return Err(at_line(record.line)(TableError::Csv(message)));
            }
            let field = |at: &Option<usize>| at.map_or("", |i| record.fields[i].as_str());
            let fields: Vec<&str> = at.iter().map(field).collect();
            rows.push(row(&fields).map_err(at_line(record.line))?);
            lines.push(record.line);
        }
        Ok((rows, lines))
    }

    /// Checks every row and builds the index. Names and aliases must be unique over the whole table.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn from_rows(rows: Vec<FoodRow>) -> Result<Self, TableError> {
        Self::build(rows).map_err(|(_, error)| error)
    }

    /// [`Self::from_rows`]; an error comes with the index of the row at fault, if it is one row's.
    fn build(rows: Vec<FoodRow>) -> Result<Self, (Option<usize>, TableError)> {
        let foods = rows
            .into_iter()
            .enumerate()
            .map(|(i, row)| Food::try_from(row).map_err(|e| (Some(i), e.into())))
            .collect::<Result<Vec<_>, _>>()?;
        if foods.is_empty() {
            return Err((None, TableError::Empty));
        }
        let mut by_id = HashMap::new();
        let mut names: HashMap<String, usize> = HashMap::new();
        for (i, food) in foods.iter().enumerate() {
            if let Some(id) = &food.id
                && by_id.insert(id.clone(), i).is_some()
            {
                return Err((Some(i), TableError::DuplicateId(id.clone())));
            }
            for name in std::iter::once(&food.name).chain(&food.aliases) {
                let key = text::words(name).join(" ");
                if let Some(other) = names.insert(key, i).filter(|&other| other != i) {
                    let error = TableError::DuplicateName {
                        name: name.clone(),
                        first: foods[other].name.clone(),
                        second: food.name.clone(),
                    };
                    return Err((Some(i), error));
                }
            }
        }
        // Averages are of foods that are common on plates; a table without such is averaged whole.
        let any_core = foods.iter().any(|f| f.tier == Tier::Core);
        let common = || foods.iter().filter(|f| f.tier == Tier::Core || !any_core);
        let mut members: BTreeMap<String, Vec<&Food>> = BTreeMap::new();
        for food in common() {
            members.entry(food.category.clone()).or_default().push(food);
        }
        let categories = members
            .iter()
            .map(|(name, of)| (name.clone(), average(name, of)))
            .collect();
        let eaten: Vec<&Food> = common().filter(|f| f.basis != Basis::Liquid).collect();
        let unknown = average(
            "unknown",
            if eaten.is_empty() {
                members.values().next().map_or(&eaten, |m| m)
            } else {
                &eaten
            },
        );
        Ok(Self {
            names: Names::new(&foods, names),
            foods,
            by_id,
            categories,
            unknown,
        })
    }

    pub fn foods(&self) -> &[Food] {
        &self.foods
    }

    /// Names of the foods that are common on plates: what an identifier may answer with. A label that a person or a free
    /// text gives is looked up among all rows.
    pub fn common_names(&self) -> Vec<String> {
        let core: Vec<String> = self
            .foods
            .iter()
            .filter(|f| f.tier == Tier::Core)
            .map(|f| f.name.clone())
            .collect();
        if core.is_empty() {
            return self.foods.iter().map(|f| f.name.clone()).collect();
        }
        core
    }

    pub fn by_id(&self, id: &str) -> Option<&Food> {
        let id = FoodId::new(id)?;
        self.by_id.get(&id).map(|&i| &self.foods[i])
    }

    /// The average of a category, for a label of which no more is known.
    pub fn category(&self, name: &str) -> Option<&Food> {
        self.categories.get(name)
    }

    /// The average over all solid and mixed foods: what food that nobody can name is taken for.
    pub fn unknown(&self) -> &Food {
        &self.unknown
    }

    pub fn rows(&self) -> Vec<FoodRow> {
        self.foods.iter().map(FoodRow::from).collect()
    }
}

/// Log-space mean and spread of `of`; the spread is the uncertainty of not knowing which one it is.
fn average(name: &str, of: &[&Food]) -> Food {
    let spread = |values: &mut dyn Iterator<Item = f64>| {
        let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::ln).collect();
        let n = logs.len().max(1) as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let var = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n;
        (mean.exp(), var.sqrt())
    };
    let (density, density_sigma) = spread(&mut of.iter().map(|f| f.density_g_cm3.p50));
    let (kcal, kcal_sigma) = spread(&mut of.iter().map(|f| f.per_100g.kcal));
    // Macros by their share of energy, so that they agree with the average kcal.
    let share = |part: &dyn Fn(&Nutrients) -> f64| {
        let shares = of
            .iter()
            .filter(|f| f.per_100g.kcal_by_macros() > 0.0)
            .map(|f| part(&f.per_100g) / f.per_100g.kcal_by_macros());
        let n = shares.clone().count().max(1) as f64;
        shares.sum::<f64>() / n
    };
    let per_100g = Nutrients {
        kcal,
        protein_g: kcal * share(&|n| n.protein_g),
        carbs_g: kcal * share(&|n| n.carbs_g),
        fat_g: kcal * share(&|n| n.fat_g),
    };
    let most = |key: &dyn Fn(&Food) -> String| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for food in of {
            *counts.entry(key(food)).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, n)| *n).map(|(k, _)| k)
    };
    let shape = if name == "unknown" {
        "unknown".into()
    } else {
        most(&|f| f.shape.clone()).unwrap_or_else(|| "unknown".into())
    };
    let members: Vec<(Portion, f64)> = of.iter().map(|f| (f.usual_portion.portion, 1.0)).collect();
    let usual_portion = match portions::mixture(&members) {
        Some(portion) if name != "unknown" => UsualPortion {
            portion,
            source: format!("average of {} foods", of.len()),
        },
        _ => portions::usual_portion(None, "unknown").clone(),
    };
    Food {
        id: None,
        usual_portion,
        name: name.replace('_', " "),
        aliases: Vec::new(),
        category: name.into(),
        basis: Basis::Mixed,
        shape,
        density_g_cm3: Estimated::log_normal(density, density_sigma.max(0.15)),
        piece_density_g_cm3: None,
        details: Details::default(),
        units: Vec::new(),
        tier: Tier::Core,
        per_100g,
        kcal_sigma_ln: kcal_sigma.max(0.25),
        energy_note: None,
        hidden: None,
        density_source: format!("average of {} foods", of.len()),
        nutrient_source: format!("average of {} foods", of.len()),
    }
}

/// Columns of the CSV file, in the order of [`FoodRow`].
pub const COLUMNS: [&str; 26] = [
    "id",
    "name",
    "aliases",
    "category",
    "basis",
    "shape",
    "density_g_cm3",
    "density_low",
    "density_high",
    "piece_density_g_cm3",
    "kcal_100g",
    "protein_100g",
    "carbs_100g",
    "fat_100g",
    "kcal_sigma_ln",
    "energy_note",
    "hidden_kind",
    "hidden_kcal_100g",
    "density_source",
    "nutrient_source",
    "fibre_100g",
    "sugars_100g",
    "saturated_fat_100g",
    "sodium_mg_100g",
    "units",
    "tier",
];
/// The first columns, which every table must have.
const REQUIRED_COLUMNS: usize = 20;

/// One field of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Text(&'a str),
    Number(f64),
    Absent,
}

/// The fields of a row in the order of [`COLUMNS`].
pub fn values(r: &FoodRow) -> [Value<'_>; COLUMNS.len()] {
    use Value::{Absent, Number, Text};
    let number = |v: Option<f64>| v.map_or(Absent, Number);
    fn text(v: Option<&String>) -> Value<'_> {
        v.map_or(Absent, |text| Text(text))
    }
    [
        Text(&r.id),
        Text(&r.name),
        Text(&r.aliases),
        Text(&r.category),
        Text(&r.basis),
        Text(&r.shape),
        Number(r.density_g_cm3),
        Number(r.density_low),
        Number(r.density_high),
        number(r.piece_density_g_cm3),
        Number(r.kcal_100g),
        Number(r.protein_100g),
        Number(r.carbs_100g),
        Number(r.fat_100g),
        Number(r.kcal_sigma_ln),
        text(r.energy_note.as_ref()),
        text(r.hidden_kind.as_ref()),
        number(r.hidden_kcal_100g),
        Text(&r.density_source),
        Text(&r.nutrient_source),
        number(r.fibre_100g),
        number(r.sugars_100g),
        number(r.saturated_fat_100g),
        number(r.sodium_mg_100g),
        text(r.units.as_ref()),
        text(r.tier.as_ref()),
    ]
}

/// CSV text that [`FoodTable::from_csv`] reads back.
pub fn to_csv(rows: &[FoodRow]) -> String {
    let fields = |row| {
        values(row).map(|value| match value {
            Value::Text(text) => text.to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Absent => String::new(),
        })
    };
    std::iter::once(COLUMNS.map(String::from))
        .chain(rows.iter().map(fields))
        .map(|fields| csv::line(&fields))
        .collect()
}

/// `f` holds the fields in the order of [`COLUMNS`].
fn row(f: &[&str]) -> Result<FoodRow, TableError> {
    let number = |i: usize| {
        f[i].parse::<f64>().map_err(|_| {
            TableError::Row(RowError {
                id: f[0].into(),
                column: COLUMNS[i],
                why: format!("{:?} is not a number", f[i]),
            })
        })
    };
    let optional = |i: usize| (!f[i].is_empty()).then(|| number(i)).transpose();
    let text = |i: usize| (!f[i].is_empty()).then(|| f[i].to_owned());
    Ok(FoodRow {
        id: f[0].into(),
        name: f[1].into(),
        aliases: f[2].into(),
        category: f[3].into(),
        basis: f[4].into(),
        shape: f[5].into(),
        density_g_cm3: number(6)?,
        density_low: number(7)?,
        density_high: number(8)?,
        piece_density_g_cm3: optional(9)?,
        kcal_100g: number(10)?,
        protein_100g: number(11)?,
        carbs_100g: number(12)?,
        fat_100g: number(13)?,
        kcal_sigma_ln: number(14)?,
        energy_note: text(15),
        hidden_kind: text(16),
        hidden_kcal_100g: optional(17)?,
        density_source: f[18].into(),
        nutrient_source: f[19].into(),
        fibre_100g: optional(20)?,
        sugars_100g: optional(21)?,
        saturated_fat_100g: optional(22)?,
        sodium_mg_100g: optional(23)?,
        units: text(24),
        tier: text(25),
    })
}
