//! A label read as an English noun phrase: which word is the food, and which only say more of it.

use super::text;

/// Words of a name in one spelling, and its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Stems in the order of speech, noise dropped.
    pub words: Vec<String>,
    /// Stems of the words that name the food: the first is the food; the second, where there is one, the cut or form
    /// that was said of it ("chicken breast": chicken, breast).
    pub heads: Vec<String>,
    /// Stems of the part that names the food, without what is only served with it.
    pub main: Vec<String>,
}

/// What follows one of these says more of the food before it.
const CONNECTORS: &[&str] = &[
    "with", "w", "in", "on", "from", "and", "or", "without", "no", "plus", "topped", "served", "n", "for",
    "style",
];

/// Parts, cuts and forms: the food is the word before.
#[rustfmt::skip]
const FORMS: &[&str] = &[
    "breast", "thigh", "leg", "wing", "drumstick", "fillet", "filet", "steak", "chop", "cutlet", "loin", "tenderloin",
    "shoulder", "belly", "rib", "strip", "piece", "chunk", "cube", "slice", "wedge", "half", "stick", "floret", "leaf",
    "leaves", "kernel", "patty", "white", "yolk", "heart", "stalk", "spear", "segment", "pod", "bite", "ball", "finger",
    "nugget", "tender", "mince", "scramble", "whole", "part", "scoop", "serving", "portion", "skewer", "meat", "cut",
];

/// What stands before these says the cut or the seasoning, not the animal: a pepper steak is no pepper.
const STEAKS: &[&str] = &[
    "pepper", "peppered", "rump", "flank", "skirt", "minute", "hanger", "strip", "eye", "bone", "cube",
    "swiss", "house",
];

/// Dishes that are said to be "of" what is in them: a soup of lentils is a soup, but a slice of pizza a pizza.
const OF_SOMETHING: &[&str] = &[
    "soup",
    "broth",
    "juice",
    "stew",
    "salad",
    "curry",
    "casserole",
    "smoothie",
    "tart",
    "sauce",
];

/// Dishes that what is joined by "and" before them only qualifies: a peanut butter and jelly sandwich.
const DISHES: &[&str] = &[
    "sandwich",
    "burger",
    "salad",
    "soup",
    "pie",
    "pizza",
    "wrap",
    "stew",
    "curry",
    "casserole",
    "smoothie",
    "juice",
    "cookie",
    "cake",
    "muffin",
    "quiche",
    "omelette",
    "omelet",
    "pasta",
    "bake",
    "roll",
    "taco",
    "burrito",
    "crisps",
    "quesadilla",
];

impl Phrase {
    pub(super) fn new(label: &str) -> Self {
        let words = text::words(label);
        let main = main_part(label);
        let heads = heads(&main);
        let heads = if heads.is_empty() {
            words.last().cloned().into_iter().collect()
        } else {
            heads
        };
        let main = main.iter().map(|t| text::stem(t)).collect();
        Self { words, heads, main }
    }

    /// Stems that stand beside the head and say what kind of it: "potato salad with egg" is of potato; "soup, chicken
    /// noodle" of chicken and noodle.
    pub(super) fn qualifiers(&self, name: &str) -> Vec<String> {
        let mut parts = name
            .split([',', ';', '(', ')', ':'])
            .map(text::tokens)
            .filter(|t| !t.is_empty());
        let own = |tokens: Vec<String>| -> Vec<String> {
            let cut = tokens.iter().position(|t| CONNECTORS.contains(&t.as_str()));
            tokens[..cut.unwrap_or(tokens.len())]
                .iter()
                .filter(|t| !text::is_state(t))
                .map(|t| text::stem(t))
                .filter(|s| !self.heads.contains(s))
                .collect()
        };
        let beside = parts.next().map(own).unwrap_or_default();
        if beside.is_empty() {
            parts.next().map(own).unwrap_or_default()
        } else {
            beside
        }
    }

    /// The food itself.
    pub(super) fn head(&self) -> &str {
        self.heads.first().map_or("", String::as_str)
    }
}

/// Words of the part that names the food: the first one before a comma, before a connector, after "of".
fn main_part(label: &str) -> Vec<String> {
    let first = label
        .split([',', ';', '(', ')', ':'])
        .map(text::tokens)
        .find(|t| !t.is_empty())
        .unwrap_or_default();
    let joined = |t: &str| matches!(t, "and" | "or" | "n");
    let of_a_dish = first
        .last()
        .is_some_and(|t| DISHES.contains(&t.as_str()) || DISHES.contains(&t.strip_suffix('s').unwrap_or(t)));
    let cut = first
        .iter()
        .skip(1)
        .position(|t| CONNECTORS.contains(&t.as_str()) && !(of_a_dish && joined(t)))
        .map_or(first.len(), |at| at + 1);
    let main = &first[..cut];
    // "cream of mushroom soup", "leg of lamb", "slice of pizza": what stands behind "of" is the food.
    let main = match main.iter().position(|t| t == "of") {
        Some(at) if at > 0 && OF_SOMETHING.contains(&main[at - 1].as_str()) => &main[..at],
        Some(at) if at + 1 < main.len() => &main[at + 1..],
        _ => main,
    };
    main.to_vec()
}

/// Stems of the heads of a name's main part.
fn heads(main: &[String]) -> Vec<String> {
    let says_a_state = |t: &String| text::is_state(t);
    let Some(last) = main.iter().rposition(|t| !says_a_state(t)) else {
        return main.last().map(|t| text::stem(t)).into_iter().collect();
    };
    let is_form = |t: &str| FORMS.contains(&t) || FORMS.contains(&t.strip_suffix('s').unwrap_or(t));
    let meat_itself = |t: &str| {
        let steak = matches!(t, "steak" | "steaks");
        steak && last > 0 && STEAKS.contains(&main[last - 1].as_str())
    };
    let food = (is_form(&main[last]) && !meat_itself(&main[last]))
        .then(|| main[..last].iter().rposition(|t| !says_a_state(t) && !is_form(t)))
        .flatten();
    match food {
        Some(at) => vec![text::stem(&main[at]), text::stem(&main[last])],
        None => vec![text::stem(&main[last])],
    }
}

#[cfg(test)]
mod tests {
    use super::Phrase;

    #[test]
    fn the_head_is_the_food() {
        for (label, heads) in [
            ("swiss cheese", vec!["chees"]),
            ("Cheese, swiss", vec!["chees"]),
            ("chocolate milk", vec!["milk"]),
            ("milk chocolate", vec!["chocolat"]),
            ("grilled chicken breast", vec!["chicken", "breast"]),
            ("chicken, breast, roasted", vec!["chicken"]),
            ("leg of lamb", vec!["lamb"]),
            ("cream of mushroom soup", vec!["soup"]),
            ("pasta with tomato sauce", vec!["pasta"]),
            ("potatoes, mashed, with butter", vec!["potato"]),
            ("white rice cooked", vec!["ric"]),
            ("egg white", vec!["egg", "whit"]),
            ("onion rings", vec!["ring"]),
            ("peanut butter and jelly sandwich", vec!["sandwich"]),
            ("fish and chips", vec!["fish"]),
            ("soup of lentils", vec!["soup"]),
            ("a slice of pizza", vec!["pizza"]),
            ("pepper steak", vec!["steak"]),
            ("tuna steak", vec!["tuna", "steak"]),
        ] {
            assert_eq!(Phrase::new(label).heads, heads, "{label}");
        }
        assert_eq!(Phrase::new("steak").heads, ["steak"]);
        assert!(Phrase::new("?!").heads.is_empty());
    }
}
