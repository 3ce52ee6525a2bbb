//! Words by which a label betrays its category, where no row fits.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::phrase::Phrase;
use super::text;

#[rustfmt::skip]
const CATEGORY_WORDS: &[(&str, &str)] = &[
    ("salad", "salad"), ("soup", "soup"), ("broth", "soup"), ("chowder", "soup"), ("bisque", "soup"), ("ramen", "soup"),
    ("stew", "mixed_dish"), ("casserole", "mixed_dish"), ("curry", "mixed_dish"), ("stir", "mixed_dish"), ("bowl", "mixed_dish"),
    ("risotto", "mixed_dish"), ("lasagne", "mixed_dish"), ("dumplings", "mixed_dish"), ("sushi", "mixed_dish"), ("pizza", "mixed_dish"),
    ("pie", "dessert"), ("cake", "dessert"), ("tart", "dessert"), ("pastry", "dessert"), ("cookies", "dessert"),
    ("biscuits", "dessert"), ("dessert", "dessert"), ("pudding", "dessert"), ("chocolate", "dessert"), ("muffin", "dessert"),
    ("brownie", "dessert"), ("gelato", "dessert"), ("sorbet", "dessert"),
    ("candy", "sweet"), ("sweets", "sweet"), ("syrup", "sweet"), ("jam", "sweet"), ("marmalade", "sweet"), ("toffee", "sweet"),
    ("bread", "bread"), ("toast", "bread"), ("bun", "bread"), ("roll", "bread"), ("loaf", "bread"), ("flatbread", "bread"),
    ("sandwich", "sandwich"), ("burger", "sandwich"), ("wrap", "sandwich"), ("sub", "sandwich"), ("panini", "sandwich"),
    ("cheese", "dairy"), ("yoghurt", "dairy"), ("yogurt", "dairy"), ("cream", "dairy"), ("dairy", "dairy"),
    ("fish", "fish"), ("seafood", "fish"), ("shellfish", "fish"),
    ("meat", "meat"), ("beef", "meat"), ("pork", "meat"), ("chicken", "meat"), ("turkey", "meat"), ("lamb", "meat"),
    ("veal", "meat"), ("poultry", "meat"), ("steak", "meat"), ("sausage", "meat"), ("ham", "meat"),
    ("egg", "egg"),
    ("beans", "legume"), ("lentils", "legume"), ("legumes", "legume"), ("pulses", "legume"),
    ("nuts", "nut"), ("seeds", "nut"),
    ("juice", "drink"), ("drink", "drink"), ("tea", "drink"), ("coffee", "drink"), ("wine", "drink"), ("milk", "drink"),
    ("beverage", "drink"), ("soda", "drink"), ("lemonade", "drink"), ("water", "drink"), ("ale", "drink"), ("beer", "drink"),
    ("cocktail", "drink"), ("smoothie", "drink"), ("milkshake", "drink"), ("shake", "drink"), ("latte", "drink"), ("cider", "drink"),
    ("sauce", "sauce"), ("dip", "sauce"), ("gravy", "sauce"), ("dressing", "sauce"), ("chutney", "sauce"), ("relish", "sauce"),
    ("pesto", "sauce"), ("vinegar", "sauce"),
    ("oil", "fat"), ("margarine", "fat"), ("butter", "fat"), ("lard", "fat"),
    ("fruit", "fruit"), ("berries", "fruit"), ("melon", "fruit"),
    ("vegetables", "vegetable"), ("greens", "vegetable"), ("cabbage", "vegetable"), ("squash", "vegetable"),
    ("lettuce", "vegetable"), ("leaves", "vegetable"),
    ("rice", "grain"), ("pasta", "grain"), ("noodles", "grain"), ("cereal", "grain"), ("porridge", "grain"), ("grain", "grain"),
    ("chips", "snack"), ("crisps", "snack"), ("snack", "snack"), ("crackers", "snack"),
];

/// Words that name a group of foods and never one row of it.
#[rustfmt::skip]
const GROUPS: &[&str] = &[
    "salad", "soup", "stew", "casserole", "curry", "pie", "cake", "tart", "pastry", "dessert", "pudding", "candy",
    "sandwich", "cheese", "fish", "seafood", "shellfish", "meat", "poultry", "beans", "nuts", "seeds", "juice", "drink",
    "beverage", "sauce", "dip", "fruit", "berries", "melon", "vegetables", "greens", "legumes", "cereal", "snack",
    "dairy", "grain",
];

/// The category of a stem that names a whole group.
pub(super) fn of_word(stem: &str) -> Option<&'static str> {
    static STEMS: LazyLock<HashSet<String>> =
        LazyLock::new(|| GROUPS.iter().map(|g| text::stem(g)).collect());
    of_stem(stem).filter(|_| STEMS.contains(stem))
}

pub(super) fn of_stem(stem: &str) -> Option<&'static str> {
    static BY_STEM: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
        CATEGORY_WORDS
            .iter()
            .map(|(word, category)| (text::stem(word), *category))
            .collect()
    });
    BY_STEM.get(stem).copied()
}

/// The category that a phrase betrays: by its head, else by the last word that says one.
pub(super) fn of_phrase(phrase: &Phrase) -> Option<&'static str> {
    // A word that is not the head vouches for a dish or a main food, not for what is only used with one.
    let vouches = |category: &&str| !matches!(*category, "fat" | "sauce" | "dairy" | "sweet" | "drink");
    phrase.heads.iter().find_map(|word| of_stem(word)).or_else(|| {
        phrase
            .words
            .iter()
            .rev()
            .filter_map(|word| of_stem(word))
            .find(vouches)
    })
}
