//! Label and volume in; grams, kcal and macros with intervals out.
//!
//! Pure: no files, clocks, models or network. All errors are multiplicative, so everything is kept in log space:
//! ln mass = ln volume + ln density, ln kcal = ln mass + ln energy density. The scale error is shared by all items of
//! one photo and does not average out.

mod amount;
mod categories;
pub(crate) mod csv;
pub mod food;
mod found;
mod item;
pub mod lookup;
pub mod meal;
mod names;
mod note;
mod phrase;
pub mod portions;
mod quantity;
pub mod questions;
mod row;
mod synonyms;
pub mod table;
mod text;

pub use amount::{Amount, ToldMass, Unit};
pub use food::{Basis, Details, EnergyNote, Food, FoodId, Form, Hidden, HiddenKind, Nutrients, SHAPES, Tier};
pub use found::FoundFood;
pub use item::{ItemInput, VlmGrams, Volume};
pub use lookup::{FoodMatch, MatchKind};
pub use meal::{Meal, Nourished, NutritionError, TOLD_SIGMA_LN, nourish, nourish_noted};
pub use note::Note;
pub use row::{FoodRow, RowError};
pub use table::{FoodTable, TableError, to_csv};
