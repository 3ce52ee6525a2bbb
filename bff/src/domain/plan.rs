//! What to eat on a day of low energy: a dinner rich in carbohydrate ("high carb / low cortisol"), as far as diet,
//! allergies, dislikes, pantry, the eating window and what was rejected today leave one. If nothing is left, that is
//! said.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::day::Window;

/// What the day's card says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    /// Null when nothing fits.
    #[schema(required)]
    pub food: Option<String>,
    pub reason: String,
    /// `low_energy`.
    pub trigger: String,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Suggested,
    Accepted,
    /// There is none.
    None,
}

/// A suggestion that the user did not want today.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    pub food: String,
    #[serde(default)]
    #[schema(required)]
    pub reason: Option<String>,
    pub at: String,
}

/// Whom the dinner is for.
#[derive(Debug, Clone, Default)]
pub struct Eater<'a> {
    pub diet: Option<&'a str>,
    pub allergies: &'a [String],
    pub dislikes: &'a [String],
    /// Name and expiry of what is in the kitchen.
    pub pantry: &'a [(String, Option<Date>)],
    pub rejected: &'a [Rejected],
}

/// A dinner and what is in it.
struct Dish {
    name: &'static str,
    ingredients: &'static [&'static str],
}

/// In the order of preference when nothing else decides.
const DISHES: [Dish; 14] = [
    Dish {
        name: "Roast sweet potato with chicken",
        ingredients: &["sweet potato", "chicken", "olive oil"],
    },
    Dish {
        name: "Sweet potato mash with turkey",
        ingredients: &["sweet potato", "turkey", "olive oil"],
    },
    Dish {
        name: "Baked sweet potato with salmon",
        ingredients: &["sweet potato", "salmon", "lemon"],
    },
    Dish {
        name: "Rice bowl with chicken and vegetables",
        ingredients: &["rice", "chicken", "carrot", "broccoli"],
    },
    Dish {
        name: "Rice with cod and peas",
        ingredients: &["rice", "cod", "pea"],
    },
    Dish {
        name: "Sweet potato and chickpea stew",
        ingredients: &["sweet potato", "chickpea", "tomato"],
    },
    Dish {
        name: "Lentil dal with rice",
        ingredients: &["lentil", "rice", "onion"],
    },
    Dish {
        name: "Stuffed sweet potato with black beans",
        ingredients: &["sweet potato", "black bean", "maize"],
    },
    Dish {
        name: "Potatoes with eggs and spinach",
        ingredients: &["potato", "egg", "spinach"],
    },
    Dish {
        name: "Wholewheat pasta with tomato and lentils",
        ingredients: &["wheat pasta", "tomato", "lentil"],
    },
    Dish {
        name: "Quinoa with roast squash and beans",
        ingredients: &["quinoa", "squash", "white bean"],
    },
    Dish {
        name: "Rice noodles with tofu and vegetables",
        ingredients: &["rice", "tofu", "carrot"],
    },
    Dish {
        name: "Oat porridge with banana and yoghurt",
        ingredients: &["oat", "banana", "yoghurt"],
    },
    Dish {
        name: "Plain rice with roast root vegetables",
        ingredients: &["rice", "carrot", "parsnip"],
    },
];

/// Words for groups of food, so that "dairy" or "shellfish" finds its members. Singular.
const GROUPS: &[(&[&str], &[&str])] = &[
    (&["poultry", "bird"], &["chicken", "turkey"]),
    (&["meat", "animal"], &["chicken", "turkey"]),
    (&["fish", "seafood", "pescado"], &["salmon", "cod"]),
    (
        &["dairy", "milk", "lactose", "milk protein", "cow milk", "casein"],
        &["yoghurt"],
    ),
    (&["gluten", "wheat", "coeliac", "celiac"], &["wheat pasta", "oat"]),
    (&["grain", "cereal"], &["wheat pasta", "oat", "rice", "maize"]),
    (&["soy", "soya", "soybean"], &["tofu"]),
    (
        &["legume", "pulse"],
        &["chickpea", "lentil", "black bean", "white bean", "pea", "tofu"],
    ),
    (&["bean"], &["black bean", "white bean"]),
    (&["egg", "eggs"], &["egg"]),
    (&["corn"], &["maize"]),
    (&["nightshade", "solanaceae"], &["potato", "tomato"]),
    (&["yogurt"], &["yoghurt"]),
    (&["citrus"], &["lemon"]),
    (&["pasta"], &["wheat pasta"]),
];

/// Known not to be in any dish: an allergy to these needs no warning.
const ABSENT: &[&str] = &[
    "peanut",
    "nut",
    "tree nut",
    "almond",
    "walnut",
    "hazelnut",
    "cashew",
    "pistachio",
    "sesame",
    "shellfish",
    "shrimp",
    "prawn",
    "crab",
    "lobster",
    "mollusc",
    "mussel",
    "oyster",
    "mustard",
    "celery",
    "lupin",
    "pork",
    "beef",
    "lamb",
    "honey",
    "kiwi",
    "strawberry",
    "sulphite",
    "sulfite",
];

/// Diets and what they leave out; `None` for a diet this table does not know.
fn left_out(diet: &str) -> Option<&'static [&'static str]> {
    Some(match diet {
        "" | "none" | "omnivore" | "balanced" | "mediterranean" | "high_protein" => &[],
        "vegan" => &["chicken", "turkey", "salmon", "cod", "egg", "yoghurt"],
        "vegetarian" => &["chicken", "turkey", "salmon", "cod"],
        "pescatarian" => &["chicken", "turkey"],
        // Slaughter cannot be told from a name.
        "halal" | "kosher" => &["chicken", "turkey"],
        "gluten_free" => &["wheat pasta", "oat"],
        "lactose_free" | "dairy_free" => &["yoghurt"],
        "paleo" => &[
            "rice",
            "wheat pasta",
            "oat",
            "quinoa",
            "chickpea",
            "lentil",
            "black bean",
            "white bean",
            "tofu",
            "yoghurt",
            "maize",
            "pea",
        ],
        // A dinner rich in carbohydrate is what these diets exclude.
        "keto" | "ketogenic" | "low_carb" | "carnivore" => &[
            "sweet potato",
            "rice",
            "lentil",
            "potato",
            "wheat pasta",
            "quinoa",
            "oat",
            "maize",
        ],
        _ => return None,
    })
}

/// A dinner, or the words that there is none. `window` is the eating window that is open or opens next.
pub fn low_energy(eater: &Eater<'_>, now: Timestamp, today: Date, window: Window, opens: &str) -> Suggestion {
    let none = |reason: String| Suggestion {
        food: None,
        reason,
        trigger: "low_energy".into(),
        status: Status::None,
    };
    if !window.contains(now) {
        return none(format!(
            "Your energy is low, but you are fasting: eat from {opens} on."
        ));
    }
    let diet = eater.diet.unwrap_or_default();
    let Some(excluded) = left_out(diet) else {
        return none("Your energy is low. No suggestion: your diet is not one that we can check.".into());
    };
    let unknown: Vec<&str> = eater
        .allergies
        .iter()
        .map(String::as_str)
        .filter(|a| members(a).is_empty() && !in_any_dish(a) && !is_absent(a))
        .collect();
    let fits = |dish: &&Dish| {
        let has = |unwanted: &str| dish.ingredients.iter().any(|i| is(i, unwanted));
        !dish.ingredients.iter().any(|i| excluded.contains(i))
            && !eater
                .allergies
                .iter()
                .chain(eater.dislikes)
                .any(|a| has(a) || is(dish.name, a))
            && !eater.rejected.iter().any(|r| r.food == dish.name)
    };
    // Fewer days to an expiry come first; what has expired is no reason.
    let urgency = |dish: &Dish| {
        eater
            .pantry
            .iter()
            .filter(|(name, _)| dish.ingredients.iter().any(|i| is(i, name)))
            .filter_map(|(name, expiry)| expiry.filter(|e| *e >= today).map(|e| (e, name.clone())))
            .min()
    };
    let mut left: Vec<_> = DISHES
        .iter()
        .filter(fits)
        .enumerate()
        .map(|(i, d)| (i, d, urgency(d)))
        .collect();
    left.sort_by_key(|(i, _, u)| (u.as_ref().map_or(Date::MAX, |(e, _)| *e), *i));
    let Some((_, dish, urgent)) = left.first() else {
        return none(
            "Your energy is low. No dinner of ours is left that fits your diet, allergies and wishes.".into(),
        );
    };
    let mut reason = "Your energy is low: high carb / low cortisol.".to_owned();
    if let Some((expiry, name)) = urgent {
        reason.push_str(&format!(" Uses your {name}, good until {expiry}."));
    }
    if !unknown.is_empty() {
        reason.push_str(" We could not check it against every allergy you named: look at the ingredients.");
    }
    Suggestion {
        food: Some(dish.name.to_owned()),
        reason,
        trigger: "low_energy".into(),
        status: Status::Suggested,
    }
}

/// Plain singular words.
fn norm(text: &str) -> String {
    let lower = text.to_lowercase().replace(['_', '-'], " ");
    let words = lower.split_whitespace().map(|w| match w {
        w if w.ends_with("oes") => w.trim_end_matches("es"),
        w if w.ends_with("ss") || w.len() < 4 => w,
        w => w.trim_end_matches('s'),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn members(word: &str) -> Vec<&'static str> {
    let word = norm(word);
    let of = |(names, members): &(&'static [&'static str], &'static [&'static str])| {
        names.iter().any(|n| norm(n) == word).then_some(*members)
    };
    GROUPS.iter().filter_map(of).flatten().copied().collect()
}

/// Whether an ingredient, or the name of a dish, is what a word means: the same words inside, or its group.
fn is(text: &str, word: &str) -> bool {
    let (text, plain) = (norm(text), norm(word));
    if plain.is_empty() {
        return false;
    }
    let inside = |needle: &str| format!(" {text} ").contains(&format!(" {needle} "));
    inside(&plain) || members(word).iter().any(|m| norm(m) == text)
}

fn in_any_dish(word: &str) -> bool {
    DISHES.iter().any(|d| d.ingredients.iter().any(|i| is(i, word)))
}

fn is_absent(word: &str) -> bool {
    let word = norm(word);
    ABSENT.iter().any(|a| norm(a) == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const OPEN: Window = Window {
        from: Timestamp::MIN,
        to: Timestamp::MAX,
    };

    fn ask(eater: &Eater<'_>) -> Suggestion {
        low_energy(eater, Timestamp::UNIX_EPOCH, date(2026, 6, 10), OPEN, "12:00")
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn sweet_potato_and_poultry_first() {
        assert_eq!(
            ask(&Eater::default()).food.as_deref(),
            Some("Roast sweet potato with chicken")
        );
    }

    #[test]
    fn what_is_unwanted_is_not_suggested() {
        type Case = (
            Option<&'static str>,
            &'static [&'static str],
            &'static [&'static str],
            Option<&'static str>,
        );
        let cases: &[Case] = &[
            (Some("vegan"), &[], &[], Some("Sweet potato and chickpea stew")),
            (
                Some("pescatarian"),
                &[],
                &[],
                Some("Baked sweet potato with salmon"),
            ),
            (None, &["Poultry"], &[], Some("Baked sweet potato with salmon")),
            (
                None,
                &["chicken"],
                &["Turkeys", "fish"],
                Some("Sweet potato and chickpea stew"),
            ),
            (
                None,
                &[],
                &["sweet potatoes"],
                Some("Rice bowl with chicken and vegetables"),
            ),
            (
                Some("vegetarian"),
                &["legumes", "rice", "gluten"],
                &["sweet potato", "eggs"],
                None,
            ),
            (Some("keto"), &[], &[], None),
            (Some("breatharian"), &[], &[], None),
        ];
        for (diet, allergies, dislikes, want) in cases {
            let (allergies, dislikes) = (strings(allergies), strings(dislikes));
            let eater = Eater {
                diet: *diet,
                allergies: &allergies,
                dislikes: &dislikes,
                ..Eater::default()
            };
            let got = ask(&eater);
            assert_eq!(got.food.as_deref(), *want, "{diet:?} {allergies:?} {dislikes:?}");
            assert_eq!(got.status == Status::None, want.is_none());
        }
    }

    #[test]
    fn each_rejection_leads_on_until_nothing_is_left() {
        let mut rejected = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let got = ask(&Eater {
                rejected: &rejected,
                ..Eater::default()
            });
            let Some(food) = got.food else {
                assert!(got.reason.contains("No dinner"));
                break;
            };
            assert!(seen.insert(food.clone()), "{food} came twice");
            rejected.push(Rejected {
                food,
                reason: None,
                at: String::new(),
            });
        }
        assert_eq!(seen.len(), DISHES.len());
    }

    #[test]
    fn what_expires_first_is_used_first_and_what_has_expired_is_no_reason() {
        let pantry = [
            ("Cod".to_owned(), Some(date(2026, 6, 12))),
            ("lentils".to_owned(), Some(date(2026, 6, 11))),
            ("eggs".to_owned(), Some(date(2026, 6, 9))),
        ];
        let got = ask(&Eater {
            pantry: &pantry,
            ..Eater::default()
        });
        assert_eq!(got.food.as_deref(), Some("Lentil dal with rice"));
        assert!(got.reason.contains("lentils"));
    }

    #[test]
    fn an_allergy_that_cannot_be_checked_is_said() {
        let odd = strings(&["annatto"]);
        assert!(
            ask(&Eater {
                allergies: &odd,
                ..Eater::default()
            })
            .reason
            .contains("could not check")
        );
        let known = strings(&["peanuts", "Shellfish", "tree nuts"]);
        assert!(
            !ask(&Eater {
                allergies: &known,
                ..Eater::default()
            })
            .reason
            .contains("could not check")
        );
    }

    #[test]
    fn fasting_is_not_broken() {
        let closed = Window {
            from: Timestamp::MAX,
            to: Timestamp::MAX,
        };
        let got = low_energy(
            &Eater::default(),
            Timestamp::UNIX_EPOCH,
            date(2026, 6, 10),
            closed,
            "12:00",
        );
        assert_eq!(got.food, None);
        assert!(got.reason.contains("12:00"));
    }

    #[test]
    fn every_member_of_a_group_is_an_ingredient() {
        for (_, members) in GROUPS {
            for m in *members {
                assert!(DISHES.iter().any(|d| d.ingredients.contains(m)), "{m}");
            }
        }
    }
}
