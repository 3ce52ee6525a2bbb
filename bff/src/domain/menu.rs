//! A restaurant's menu as a language model told it: untrusted text until every check here has passed, and never measured.
//!
//! The bounds and shares are this service's own.

pub mod answer;
pub mod item;
pub mod name;
mod number;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use answer::Answer;
use item::{Item, Verdict};
use name::NameKey;

/// A menu that may be kept and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Menu {
    /// As the restaurant writes itself.
    #[schema(max_length = 120)]
    pub restaurant: String,
    #[schema(min_items = 3, max_items = 200)]
    pub items: Vec<Item>,
}

/// Why an answer is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// No JSON object with items in it.
    NotAMenu,
    /// Of a restaurant with another name.
    AnotherRestaurant,
    TooManyItems,
    /// Fewer than three good items, or less than half of them good.
    TooFewGood,
}

impl Unusable {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAMenu => "not_a_menu",
            Self::AnotherRestaurant => "another_restaurant",
            Self::TooManyItems => "too_many_items",
            Self::TooFewGood => "too_few_good_items",
        }
    }
}

/// Items of one menu.
pub const ITEMS: usize = 200;
const FEWEST: usize = 3;

/// The menu in the text of a model, if it is of the restaurant that was asked for.
///
/// # Errors
/// [`Unusable`].
pub fn read(text: &str, asked: &NameKey) -> Result<Menu, Unusable> {
    let Answer { restaurant, items } = answer::find(text).ok_or(Unusable::NotAMenu)?;
    if items.len() > ITEMS {
        return Err(Unusable::TooManyItems);
    }
    let restaurant = restaurant
        .and_then(|r| item::plain(&r))
        .ok_or(Unusable::NotAMenu)?;
    if !NameKey::of(&restaurant).is_some_and(|told| told.is_like(asked)) {
        return Err(Unusable::AnotherRestaurant);
    }
    let (mut kept, mut good, mut told) = (Vec::<Item>::new(), 0, 0);
    for raw in &items {
        let verdict = item::check(raw);
        if let Verdict::Good(item) | Verdict::Doubtful(item) = &verdict
            && kept.iter().any(|k| k.is_same(item))
        {
            continue;
        }
        told += 1;
        match verdict {
            Verdict::Good(item) => {
                good += 1;
                kept.push(item);
            }
            Verdict::Doubtful(item) => kept.push(item),
            Verdict::Bad => {}
        }
    }
    if good < FEWEST || good * 2 < told {
        return Err(Unusable::TooFewGood);
    }
    Ok(Menu {
        restaurant,
        items: kept,
    })
}

#[cfg(test)]
#[path = "menu/tests.rs"]
mod tests;
