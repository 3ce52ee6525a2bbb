//! How much of a food a label speaks of: "2 eggs", "1 cup rice", "glass of milk", "200 g chicken breast".

use super::food::Food;

/// A told amount; not yet grams, because a piece or a cup weighs what its food weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// How many of `unit`, more than 0 and at most 5000.
    pub count: f64,
    pub unit: Unit,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unit {
    /// A mass, grams each.
    Grams(f64),
    /// A measured volume, cm3 each; `name` as in the food table's `units`.
    Volume { name: &'static str, cm3: f64 },
    /// A vessel that nobody measured: cm3 each, roughly.
    Vessel(f64),
    /// Pieces by a name of the food table's `units` (`slice`, `large`).
    Named(&'static str),
    /// Bare pieces: "2 eggs".
    Pieces,
}

/// A count beyond this is no amount on a plate.
const MOST: f64 = 5000.0;

/// A told amount as mass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToldMass {
    pub grams: f64,
    /// Standard deviation of ln grams.
    pub sigma_ln: f64,
}

impl Amount {
    /// Mass of this much of `food`; none where the table does not know what one weighs.
    ///
    /// Sigmas are judgements: a kitchen scale is read to 5 %; cups are heaped or not (15 %); sizes of pieces vary by
    /// 15 %, unnamed ones by 20 %; a glass may be any glass (30 %).
    pub fn mass(&self, food: &Food) -> Option<ToldMass> {
        let told = |each: f64, sigma_ln: f64| ToldMass {
            grams: to_hundredths(self.count * each),
            sigma_ln,
        };
        match self.unit {
            Unit::Grams(each) => Some(told(each, 0.05)),
            Unit::Volume { name, cm3 } => Some(match food.unit(name) {
                Some(grams) => told(grams, 0.15),
                None => told(
                    cm3 * food.density_g_cm3.p50,
                    0.15f64.hypot(food.density_g_cm3.sigma_ln()),
                ),
            }),
            Unit::Vessel(cm3) => Some(told(cm3 * food.density_g_cm3.p50, 0.3)),
            Unit::Named(name) => food
                .unit(name)
                .map(|grams| told(grams, 0.15))
                .or_else(|| food.piece_g().map(|grams| told(grams * relative_size(name), 0.3))),
            Unit::Pieces => food.piece_g().map(|grams| told(grams, 0.2)),
        }
    }
}

/// Grams as a kitchen knows them at best: 240 cm3 of milk are 247.44 g, whatever the product's last bits say.
fn to_hundredths(grams: f64) -> f64 {
    (grams * 100.0).round() / 100.0
}

/// A size against the usual one, where the table knows no such size of a food.
fn relative_size(name: &str) -> f64 {
    match name {
        "small" => 0.75,
        "large" => 1.25,
        "extra_large" => 1.5,
        _ => 1.0,
    }
}

const ML_CUP: f64 = 236.588;

/// Names of units as people write them.
#[rustfmt::skip]
fn unit(word: &str) -> Option<Unit> {
    let volume = |name, cm3| Some(Unit::Volume { name, cm3 });
    match word {
        "g" | "gr" | "gram" | "grams" | "gramme" | "grammes" => Some(Unit::Grams(1.0)),
        "kg" | "kilo" | "kilos" | "kilogram" | "kilograms" => Some(Unit::Grams(1000.0)),
        "oz" | "ounce" | "ounces" => Some(Unit::Grams(28.3495)),
        "lb" | "lbs" | "pound" | "pounds" => Some(Unit::Grams(453.592)),
        "ml" | "milliliter" | "milliliters" | "millilitre" | "millilitres" | "cc" => volume("", 1.0),
        "cl" => volume("", 10.0),
        "dl" => volume("", 100.0),
        "l" | "liter" | "liters" | "litre" | "litres" => volume("", 1000.0),
        "cup" | "cups" | "cupful" => volume("cup", ML_CUP),
        "tbsp" | "tablespoon" | "tablespoons" | "tablespoonful" => volume("tablespoon", 14.787),
        "tsp" | "teaspoon" | "teaspoons" | "teaspoonful" => volume("teaspoon", 4.929),
        "pint" | "pints" => volume("pint", 473.176),
        "quart" | "quarts" => volume("quart", 946.353),
        "glass" | "glasses" | "mug" | "mugs" => Some(Unit::Vessel(240.0)),
        "can" | "cans" | "tin" | "tins" => Some(Unit::Vessel(355.0)),
        "bottle" | "bottles" => Some(Unit::Vessel(500.0)),
        "shot" | "shots" => Some(Unit::Vessel(44.0)),
        "spoon" | "spoons" | "spoonful" => Some(Unit::Vessel(15.0)),
        "slice" | "slices" => Some(Unit::Named("slice")),
        "piece" | "pieces" => Some(Unit::Named("piece")),
        "wedge" | "wedges" => Some(Unit::Named("wedge")),
        "scoop" | "scoops" => Some(Unit::Named("scoop")),
        "clove" | "cloves" => Some(Unit::Named("clove")),
        "stick" | "sticks" => Some(Unit::Named("stick")),
        "strip" | "strips" | "rasher" | "rashers" => Some(Unit::Named("strip")),
        "fillet" | "fillets" | "filet" | "filets" => Some(Unit::Named("fillet")),
        "serving" | "servings" | "portion" | "portions" | "helping" | "helpings" => Some(Unit::Named("serving")),
        _ => None,
    }
}

/// Sizes that stand where a unit would: "large fries".
fn size(word: &str) -> Option<&'static str> {
    Some(match word {
        "small" | "little" | "mini" => "small",
        "medium" | "regular" => "medium",
        "large" | "big" => "large",
        "jumbo" | "xl" => "extra_large",
        _ => return None,
    })
}

/// Vessels and shares that say nothing of how much: "bowl of rice".
const UNMEASURED: &[&str] = &[
    "bowl", "bowls", "plate", "plates", "dish", "dishes", "handful", "handfuls", "bit", "bits", "side",
    "order", "basket", "pot", "tray", "box", "bag", "packet", "pack", "pile", "heap", "bunch", "mound",
    "lot", "lots", "couple", "pair", "few", "some", "half", "quarter", "jar", "carton", "bite", "bites",
];

/// Words that may stand between a unit and its food.
const LINKS: &[&str] = &["of", "the", "a", "an", "fresh"];

fn number_word(word: &str) -> Option<f64> {
    Some(match word {
        "a" | "an" | "one" | "single" => 1.0,
        "two" | "couple" | "pair" | "double" => 2.0,
        "three" | "triple" => 3.0,
        "four" => 4.0,
        "five" => 5.0,
        "six" => 6.0,
        "seven" => 7.0,
        "eight" => 8.0,
        "nine" => 9.0,
        "ten" => 10.0,
        "eleven" => 11.0,
        "twelve" | "dozen" => 12.0,
        "half" => 0.5,
        "quarter" => 0.25,
        _ => return None,
    })
}

/// "2", "1.5", "1/2", "½", "1½" as a number above 0.
fn number(word: &str) -> Option<f64> {
    let fraction = |c: char| {
        Some(match c {
            '½' => 0.5,
            '¼' => 0.25,
            '¾' => 0.75,
            '⅓' => 1.0 / 3.0,
            '⅔' => 2.0 / 3.0,
            _ => return None,
        })
    };
    let value = if let Some((a, b)) = word.split_once('/') {
        a.parse::<f64>().ok()? / b.parse::<f64>().ok()?
    } else if let Some(part) = word.chars().last().and_then(fraction) {
        let whole: String = word.chars().take(word.chars().count() - 1).collect();
        part + if whole.is_empty() {
            0.0
        } else {
            whole.parse::<f64>().ok()?
        }
    } else if word.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        word.parse::<f64>().ok()?
    } else {
        return None;
    };
    (value.is_finite() && value > 0.0 && value <= MOST).then_some(value)
}

/// "200g", "2x", "x2", "250ml": the number, and the unit that sticks to it.
fn glued(word: &str) -> Option<(f64, Option<Unit>)> {
    if let Some(n) = word.strip_prefix('x').and_then(number) {
        return Some((n, None));
    }
    let at = word.find(|c: char| c.is_alphabetic())?;
    let n = number(&word[..at])?;
    match &word[at..] {
        "x" => Some((n, None)),
        rest => unit(rest).map(|u| (n, Some(u))),
    }
}

/// Splits a told amount off a label: the amount, and what is left to be looked up. None if the label tells none.
pub(super) fn split(label: &str) -> Option<(Option<Amount>, String)> {
    let lower = label.to_lowercase();
    let tokens: Vec<&str> = lower
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ':' | '×' | '*'))
        .map(|t| t.trim_matches(|c: char| matches!(c, '.' | '-' | '~' | '"')))
        .filter(|t| !t.is_empty())
        .take(40)
        .collect();
    leading(&tokens).or_else(|| trailing(&tokens))
}

fn leading(tokens: &[&str]) -> Option<(Option<Amount>, String)> {
    let mut at = 0;
    let mut count: Option<f64> = None;
    let mut found: Option<Unit> = None;
    if let Some((n, u)) = tokens.first().and_then(|t| glued(t)) {
        (count, found, at) = (Some(n), u, 1);
    } else {
        // "1 1/2", "half a dozen", "a couple of": numbers that stand together multiply, a fraction after a whole adds.
        while let Some(word) = tokens.get(at) {
            let next = match (number(word), number_word(word)) {
                (Some(n), _) => count.map_or(n, |c| if n < 1.0 { c + n } else { c * n }),
                (None, Some(n)) => count.map_or(n, |c| c * n),
                (None, None) if *word == "of" && count.is_some() && found.is_none() => {
                    at += 1;
                    continue;
                }
                (None, None) => break,
            };
            count = Some(next);
            at += 1;
        }
    }
    let counted = at > 0 && !matches!(tokens[..at], ["a" | "an"]);
    let mut vessel = false;
    if found.is_none() {
        // "1 large slice": the size says less than the unit.
        if let Some(name) = tokens.get(at).and_then(|t| size(t)) {
            found = Some(Unit::Named(name));
            at += 1;
        }
        let of_it = tokens.get(at + 1).is_some_and(|next| *next == "of") || counted;
        if let Some(u) = tokens.get(at).filter(|_| of_it).and_then(|t| unit(t)) {
            found = Some(u);
            at += 1;
        } else if tokens.get(at).is_some_and(|t| UNMEASURED.contains(t))
            && (tokens.get(at + 1) == Some(&"of") || counted)
        {
            (vessel, found, at) = (true, None, at + 1);
        } else if let (Some(n), Some("fl")) = (count, tokens.get(at).copied())
            && tokens.get(at + 1) == Some(&"oz")
        {
            (count, found, at) = (
                Some(n),
                Some(Unit::Volume {
                    name: "fluid_ounce",
                    cm3: 29.574,
                }),
                at + 2,
            );
        }
    }
    while at > 0 && tokens.get(at).is_some_and(|t| LINKS.contains(t)) {
        at += 1;
    }
    let rest = tokens.get(at..).filter(|r| !r.is_empty())?.join(" ");
    if at == 0 {
        return None;
    }
    let amount = match found {
        Some(unit) => Some((count.unwrap_or(1.0), unit)),
        None if counted && !vessel => count.map(|c| (c, Unit::Pieces)),
        None => None,
    };
    Some((amount.and_then(bounded), rest))
}

/// "chicken breast 200 g", "eggs x2", "rice (1 cup)".
fn trailing(tokens: &[&str]) -> Option<(Option<Amount>, String)> {
    let n = tokens.len();
    let (rest, pair) = if n >= 2
        && let Some((count, u)) = glued(tokens[n - 1])
    {
        (&tokens[..n - 1], (count, u.unwrap_or(Unit::Pieces)))
    } else if n >= 3
        && let (Some(count), Some(u)) = (number(tokens[n - 2]), unit(tokens[n - 1]))
    {
        (&tokens[..n - 2], (count, u))
    } else {
        return None;
    };
    Some((bounded(pair), rest.join(" ")))
}

fn bounded((count, unit): (f64, Unit)) -> Option<Amount> {
    (count > 0.0 && count <= MOST).then_some(Amount { count, unit })
}

#[cfg(test)]
mod tests {
    use super::{Amount, Unit, split};

    #[test]
    fn amounts_and_vessels_are_split_off() {
        let grams = |n| {
            Some(Amount {
                count: n,
                unit: Unit::Grams(1.0),
            })
        };
        let pieces = |n| {
            Some(Amount {
                count: n,
                unit: Unit::Pieces,
            })
        };
        let named = |n, name| {
            Some(Amount {
                count: n,
                unit: Unit::Named(name),
            })
        };
        let cup = |n| {
            Some(Amount {
                count: n,
                unit: Unit::Volume {
                    name: "cup",
                    cm3: 236.588,
                },
            })
        };
        for (label, amount, rest) in [
            ("200 g chicken breast", grams(200.0), "chicken breast"),
            ("200g of chicken breast", grams(200.0), "chicken breast"),
            ("chicken breast 200 g", grams(200.0), "chicken breast"),
            ("chicken breast (200g)", grams(200.0), "chicken breast"),
            ("2 eggs", pieces(2.0), "eggs"),
            ("eggs x2", pieces(2.0), "eggs"),
            ("half a dozen eggs", pieces(6.0), "eggs"),
            ("1 cup rice", cup(1.0), "rice"),
            ("1 1/2 cups of rice", cup(1.5), "rice"),
            ("½ cup rice", cup(0.5), "rice"),
            (
                "glass of milk",
                Some(Amount {
                    count: 1.0,
                    unit: Unit::Vessel(240.0),
                }),
                "milk",
            ),
            ("two slices of toast", named(2.0, "slice"), "toast"),
            ("large fries", named(1.0, "large"), "fries"),
            ("bowl of rice", None, "rice"),
            ("a plate of spaghetti", None, "spaghetti"),
            ("a slice of pizza", named(1.0, "slice"), "pizza"),
            ("half an apple", pieces(0.5), "apple"),
        ] {
            assert_eq!(split(label), Some((amount, rest.to_owned())), "{label}");
        }
        for label in [
            "rice",
            "cup noodles",
            "bottle gourd",
            "chicken breast",
            "",
            "2",
            "cup",
            "rice bowl",
        ] {
            assert_eq!(split(label), None, "{label}");
        }
        // No amount anybody eats, but the name is still there.
        assert_eq!(split("900000 g rice").map(|s| s.1), None);
    }
}
