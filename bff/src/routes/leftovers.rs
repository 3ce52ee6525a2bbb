//! Leftovers: cooked food kept for later.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Check;
use super::resource::{Edited, Listed};
use crate::domain::servings::Servings;
use crate::problem::Problem;
use crate::store::leftovers::{Leftover, LeftoverFields, Macros};

#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct LeftoverFilter {
    /// Also what is eaten up; false unless told.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLeftover {
    #[schema(min_length = 1, max_length = 150)]
    recipe_name: String,
    /// In steps of 0.1, above 0, up to 999.9.
    #[schema(minimum = 0.1, maximum = 999.9, multiple_of = 0.1)]
    total_servings: f64,
    /// All of it unless told.
    #[schema(minimum = 0, maximum = 999.9, multiple_of = 0.1)]
    remaining_servings: Option<f64>,
    #[schema(minimum = 0, maximum = 10_000)]
    calories_per_serving: i32,
    /// Grams in one serving, 0 to 1000 each, kept to 0.1.
    macros_json: Macros,
}

impl NewLeftover {
    fn checked(self) -> Result<LeftoverFields, Problem> {
        let mut check = Check::default();
        let recipe_name = check.text("/recipe_name", &self.recipe_name, 150);
        let total = servings(&mut check, "/total_servings", self.total_servings);
        let remaining = match self.remaining_servings {
            None => total,
            Some(0.0) => Servings::NONE,
            Some(n) => servings(&mut check, "/remaining_servings", n),
        };
        if remaining > total {
            check.fail("/remaining_servings", "more_than_total");
        }
        check.range(
            "/calories_per_serving",
            Some(self.calories_per_serving),
            0,
            10_000,
        );
        let Macros { p, c, f } = self.macros_json;
        for (pointer, grams) in [
            ("/macros_json/p", p),
            ("/macros_json/c", c),
            ("/macros_json/f", f),
        ] {
            check.range(pointer, Some(grams), 0.0, 1000.0);
        }
        check.done()?;
        let tenth = |x: f64| (x * 10.0).round() / 10.0;
        Ok(LeftoverFields {
            recipe_name,
            total_servings: total,
            remaining_servings: remaining,
            calories_per_serving: self.calories_per_serving,
            macros: Macros {
                p: tenth(p),
                c: tenth(c),
                f: tenth(f),
            },
        })
    }
}

pub(super) fn servings(check: &mut Check, pointer: &str, n: f64) -> Servings {
    Servings::positive(n).unwrap_or_else(|why| {
        check.fail(pointer, why.code());
        Servings::NONE
    })
}

/// Fields to change; what is absent stays. What was logged from it before keeps its numbers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftoverChange {
    #[schema(min_length = 1, max_length = 150)]
    recipe_name: Option<String>,
    #[schema(minimum = 0.1, maximum = 999.9, multiple_of = 0.1)]
    total_servings: Option<f64>,
    #[schema(minimum = 0, maximum = 999.9, multiple_of = 0.1)]
    remaining_servings: Option<f64>,
    #[schema(minimum = 0, maximum = 10_000)]
    calories_per_serving: Option<i32>,
    macros_json: Option<Macros>,
}

impl Listed for Leftover {
    const PATH: &'static str = "/pantry/leftovers";
    const TAG: &'static str = "leftovers";
    const NOUN: &'static str = "leftover";
    const LIST: &'static str = "Leftovers, the newest first.";
    type Filter = LeftoverFilter;

    fn filter(asked: &LeftoverFilter) -> Option<&'static str> {
        asked.all.then_some("all")
    }
}

impl Edited for Leftover {
    type New = NewLeftover;
    type Change = LeftoverChange;
    const ON_DASHBOARD: bool = false;

    fn added(new: NewLeftover, _: Timestamp) -> Result<LeftoverFields, Problem> {
        new.checked()
    }

    fn changed(self, change: LeftoverChange, _: Timestamp) -> Result<LeftoverFields, Problem> {
        let tenths = |s: Servings| f64::from(s.tenths()) / 10.0;
        NewLeftover {
            recipe_name: change.recipe_name.unwrap_or(self.recipe_name),
            total_servings: change.total_servings.unwrap_or(tenths(self.total_servings)),
            remaining_servings: Some(
                change
                    .remaining_servings
                    .unwrap_or(tenths(self.remaining_servings)),
            ),
            calories_per_serving: change.calories_per_serving.unwrap_or(self.calories_per_serving),
            macros_json: change.macros_json.unwrap_or(self.macros_json),
        }
        .checked()
    }
}
