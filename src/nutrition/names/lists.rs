//! Words that mean something of their own in a name.

/// Foods of these heads are made of what stands before them: almond milk is no milk, whatever else lemon chicken is.
#[rustfmt::skip]
pub(super) const MADE_OF: &[&str] = &[
    "milk", "butter", "juice", "oil", "sauce", "soup", "jam", "flour", "tea", "water", "chips", "burger", "salad", "pie",
    "cake", "cookie", "pudding", "cream", "bread", "roll", "dog", "cheese", "cup", "ring", "bar", "dip", "spread", "paste",
    "syrup", "candy", "drink", "sandwich", "wrap", "cracker", "curry", "stew", "dumpling", "muffin", "pizza", "beans", "ball",
    "cocktail", "tart",
];

/// Foods of these heads may be made of a vegetable in their stead: cauliflower rice, zucchini noodles.
pub(super) const OFTEN_REPLACED: &[&str] = &[
    "rice",
    "noodles",
    "fries",
    "steak",
    "wing",
    "mash",
    "pasta",
    "spaghetti",
    "bacon",
    "mince",
];

/// Heads that only say a shape: of what, the word before says.
pub(super) const SHAPED: &[&str] = &[
    "cake",
    "stick",
    "finger",
    "ball",
    "roll",
    "bite",
    "fritter",
    "loaf",
    "patty",
    "croquette",
    "skewer",
    "cocktail",
];

/// Words of an entry that say nothing against it where a label leaves them out.
#[rustfmt::skip]
pub(super) const BENIGN: &[&str] = &[
    "cook", "whol", "plain", "regular", "all", "type", "ripe", "drain", "boil", "medium", "commercial", "prepar", "recip", "nfs",
    "year", "round", "averag", "varieti", "roast", "bak", "fresh", "can", "raw", "lean", "unsweetened", "atlantic", "pacific", "wild",
    "farmed",
];

/// Ways to cook that say nothing of what is cooked; "dry heat" is no dry food.
pub(super) const NO_WORDS: &[&str] = &["dry heat", "moist heat"];

/// Food of this category is eaten dried.
pub(super) const EATEN_DRY: &str = "nut";

/// Preparations in which nobody eats the food, unless a label says so.
pub(super) const UNEATEN_RAW: &[&str] = &["meat", "fish", "grain", "legume", "egg"];
