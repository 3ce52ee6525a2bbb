//! The pantry.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Check, given};
use super::resource::{Edited, Everything, Listed};
use crate::problem::Problem;
use crate::store::pantry::{PantryFields, PantryItem};

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPantryItem {
    #[schema(min_length = 1, max_length = 100)]
    item_name: String,
    #[schema(max_length = 50)]
    category: Option<String>,
    #[schema(value_type = Option<String>, format = Date)]
    expiry_date: Option<Date>,
}

impl NewPantryItem {
    fn checked(self) -> Result<PantryFields, Problem> {
        let mut check = Check::default();
        let fields = PantryFields {
            item_name: check.text("/item_name", &self.item_name, 100),
            category: check.maybe_text("/category", self.category.as_deref(), 50),
            expiry_date: check.date("/expiry_date", self.expiry_date),
        };
        check.done()?;
        Ok(fields)
    }
}

/// Fields to change; null clears a field, what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PantryChange {
    #[schema(min_length = 1, max_length = 100)]
    item_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 50)]
    category: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Date)]
    expiry_date: Option<Option<Date>>,
}

impl Listed for PantryItem {
    const PATH: &'static str = "/pantry";
    const TAG: &'static str = "pantry";
    const NOUN: &'static str = "thing in the kitchen";
    const LIST: &'static str = "What is in the kitchen; what expires first comes first.";
    type Filter = Everything;

    fn filter(_: &Everything) -> Option<&'static str> {
        None
    }
}

impl Edited for PantryItem {
    type New = NewPantryItem;
    type Change = PantryChange;
    const ON_DASHBOARD: bool = false;

    fn added(new: NewPantryItem, _: Timestamp) -> Result<PantryFields, Problem> {
        new.checked()
    }

    fn changed(self, change: PantryChange, _: Timestamp) -> Result<PantryFields, Problem> {
        NewPantryItem {
            item_name: change.item_name.unwrap_or(self.item_name),
            category: change.category.unwrap_or(self.category),
            expiry_date: change.expiry_date.unwrap_or(self.expiry_date),
        }
        .checked()
    }
}
