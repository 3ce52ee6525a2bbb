//! From a label to a row: exact alias, same words, nearest spelling and meaning, category, unknown.

use std::collections::{BTreeSet, HashMap};

use super::food::Food;
use super::table::FoodTable;
use super::text;

/// How a row was found, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// The label is a name or alias.
    Exact,
    /// The same words in another order.
    SameWords,
    /// Nearest by spelling and words.
    Fuzzy,
    /// Only the category is known; averages with wide intervals.
    Category,
    /// Nothing fits; the average food.
    Unknown,
}

/// A row found for a label.
#[derive(Debug, Clone, Copy)]
pub struct FoodMatch<'a> {
    pub food: &'a Food,
    pub kind: MatchKind,
    /// 1 for exact; below 1 a similarity, 0 for `unknown`.
    pub score: f64,
}

/// A fuzzy match below this is no match.
pub const LEAST_SCORE: f64 = 0.5;

/// Words by which a label betrays its category.
const CATEGORY_WORDS: &[(&str, &str)] = &[
    ("salad", "salad"),
    ("soup", "soup"),
    ("broth", "soup"),
    ("chowder", "soup"),
    ("stew", "mixed_dish"),
    ("casserole", "mixed_dish"),
    ("curry", "mixed_dish"),
    ("stir fry", "mixed_dish"),
    ("bowl", "mixed_dish"),
    ("pie", "dessert"),
    ("cake", "dessert"),
    ("tart", "dessert"),
    ("pastry", "dessert"),
    ("cookies", "dessert"),
    ("dessert", "dessert"),
    ("pudding", "dessert"),
    ("chocolate", "dessert"),
    ("candy", "sweet"),
    ("bread", "bread"),
    ("toast", "bread"),
    ("bun", "bread"),
    ("sandwich", "sandwich"),
    ("burger", "sandwich"),
    ("wrap", "sandwich"),
    ("cheese", "dairy"),
    ("yoghurt", "dairy"),
    ("fish", "fish"),
    ("seafood", "fish"),
    ("shellfish", "fish"),
    ("meat", "meat"),
    ("beef", "meat"),
    ("pork", "meat"),
    ("chicken", "meat"),
    ("turkey", "meat"),
    ("lamb", "meat"),
    ("egg", "egg"),
    ("beans", "legume"),
    ("lentils", "legume"),
    ("nuts", "nut"),
    ("seeds", "nut"),
    ("juice", "drink"),
    ("drink", "drink"),
    ("tea", "drink"),
    ("coffee", "drink"),
    ("wine", "drink"),
    ("sauce", "sauce"),
    ("dip", "sauce"),
    ("gravy", "sauce"),
    ("oil", "fat"),
    ("fruit", "fruit"),
    ("berries", "fruit"),
    ("melon", "fruit"),
    ("vegetables", "vegetable"),
    ("greens", "vegetable"),
    ("cabbage", "vegetable"),
    ("squash", "vegetable"),
    ("rice", "grain"),
    ("pasta", "grain"),
    ("noodles", "grain"),
    ("cereal", "grain"),
    ("porridge", "grain"),
    ("chips", "snack"),
    ("snack", "snack"),
];

/// One name or alias, ready for comparison.
#[derive(Debug, Clone)]
struct Entry {
    food: usize,
    words: BTreeSet<String>,
    /// Tf-idf weights by trigram, of unit length.
    vector: HashMap<[char; 3], f64>,
}

/// Names of all foods, by spelling.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    exact: HashMap<String, usize>,
    sorted: HashMap<Vec<String>, usize>,
    entries: Vec<Entry>,
    /// Trigram to the entries that hold it.
    postings: HashMap<[char; 3], Vec<usize>>,
    gram_idf: HashMap<[char; 3], f64>,
    word_idf: HashMap<String, f64>,
    category_words: Vec<(Vec<String>, &'static str)>,
}

impl Index {
    /// `exact` maps normalised names to positions in `foods`.
    pub(super) fn new(foods: &[Food], exact: HashMap<String, usize>) -> Self {
        let mut named: Vec<(usize, Vec<String>)> = Vec::new();
        for (i, food) in foods.iter().enumerate() {
            for name in std::iter::once(&food.name).chain(&food.aliases) {
                named.push((i, text::words(name)));
            }
        }
        let n = named.len() as f64;
        let mut gram_count: HashMap<[char; 3], f64> = HashMap::new();
        let mut word_count: HashMap<String, f64> = HashMap::new();
        for (_, words) in &named {
            for gram in text::trigrams(words).into_iter().collect::<BTreeSet<_>>() {
                *gram_count.entry(gram).or_default() += 1.0;
            }
            for word in words.iter().collect::<BTreeSet<_>>() {
                *word_count.entry(word.clone()).or_default() += 1.0;
            }
        }
        let mut index = Self {
            exact,
            gram_idf: gram_count
                .into_iter()
                .map(|(g, c)| (g, (n / c).ln() + 1.0))
                .collect(),
            word_idf: word_count
                .into_iter()
                .map(|(w, c)| (w, (n / c).ln() + 1.0))
                .collect(),
            category_words: CATEGORY_WORDS.iter().map(|(w, c)| (text::words(w), *c)).collect(),
            ..Self::default()
        };
        for (food, words) in named {
            let mut sorted = words.clone();
            sorted.sort();
            index.sorted.entry(sorted).or_insert(food);
            let vector = index.vector(&words);
            for gram in vector.keys() {
                index.postings.entry(*gram).or_default().push(index.entries.len());
            }
            index.entries.push(Entry {
                food,
                words: words.into_iter().collect(),
                vector,
            });
        }
        index
    }

    /// Unit tf-idf vector; trigrams never seen weigh as the rarest.
    fn vector(&self, words: &[String]) -> HashMap<[char; 3], f64> {
        let rare = (self.entries.len().max(2) as f64).ln() + 1.0;
        let mut v: HashMap<[char; 3], f64> = HashMap::new();
        for gram in text::trigrams(words) {
            *v.entry(gram).or_default() += self.gram_idf.get(&gram).copied().unwrap_or(rare);
        }
        let norm = v.values().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        v.values_mut().for_each(|x| *x /= norm);
        v
    }

    fn weight(&self, word: &str) -> f64 {
        let rare = (self.entries.len().max(2) as f64).ln() + 1.0;
        self.word_idf.get(word).copied().unwrap_or(rare)
    }

    /// Best score of each food for these words, best first.
    fn nearest(&self, words: &[String]) -> Vec<(usize, f64)> {
        let query = self.vector(words);
        let set: BTreeSet<String> = words.iter().cloned().collect();
        let mut cosine: HashMap<usize, f64> = HashMap::new();
        for (gram, q) in &query {
            for &entry in self.postings.get(gram).into_iter().flatten() {
                *cosine.entry(entry).or_default() += q * self.entries[entry].vector[gram];
            }
        }
        let mut best: HashMap<usize, f64> = HashMap::new();
        for (at, cos) in cosine {
            let entry = &self.entries[at];
            let sum = |it: &mut dyn Iterator<Item = &String>| it.map(|w| self.weight(w)).sum::<f64>();
            let both = sum(&mut set.intersection(&entry.words));
            let either = sum(&mut set.union(&entry.words));
            let overlap = if either > 0.0 { both / either } else { 0.0 };
            let score = (0.55 * cos + 0.45 * overlap + state_bonus(&set, &entry.words)).clamp(0.0, 0.99);
            let kept = best.entry(entry.food).or_default();
            *kept = kept.max(score);
        }
        let mut ranked: Vec<_> = best.into_iter().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked
    }
}

/// Agreement of the preparations: fried rice is not boiled rice, however alike the words.
fn state_bonus(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let states = |s: &BTreeSet<String>| -> BTreeSet<String> {
        s.iter()
            .filter(|w| text::STATES.contains(&w.as_str()))
            .cloned()
            .collect()
    };
    let (a, b) = (states(a), states(b));
    if a.is_empty() || b.is_empty() {
        0.0
    } else if a.is_disjoint(&b) {
        -0.2
    } else {
        0.05
    }
}

impl FoodTable {
    /// The row for a label, or an average to fall back on. Never fails.
    pub fn lookup(&self, label: &str) -> FoodMatch<'_> {
        let words = text::words(label);
        let unknown = FoodMatch {
            food: self.unknown(),
            kind: MatchKind::Unknown,
            score: 0.0,
        };
        if words.is_empty() || words == ["unknown"] {
            return unknown;
        }
        if let Some(found) = self.named(&words) {
            return found;
        }
        if let Some((i, score)) = self.index.nearest(&words).into_iter().next()
            && score >= LEAST_SCORE
        {
            return FoodMatch {
                food: &self.foods()[i],
                kind: MatchKind::Fuzzy,
                score,
            };
        }
        // The last word that says it is the head of an English noun phrase.
        let category = self
            .index
            .category_words
            .iter()
            .filter_map(|(key, category)| {
                let at = words.windows(key.len()).rposition(|w| w == key.as_slice())?;
                Some((at, *category))
            })
            .max_by_key(|(at, _)| *at)
            .and_then(|(_, category)| self.category(category));
        match category {
            Some(food) => FoodMatch {
                food,
                kind: MatchKind::Category,
                score: 0.3,
            },
            None => unknown,
        }
    }

    fn named(&self, words: &[String]) -> Option<FoodMatch<'_>> {
        let found = |i: &usize, kind, score| FoodMatch {
            food: &self.foods()[*i],
            kind,
            score,
        };
        if let Some(i) = self.index.exact.get(&words.join(" ")) {
            return Some(found(i, MatchKind::Exact, 1.0));
        }
        let mut sorted = words.to_vec();
        sorted.sort();
        self.index
            .sorted
            .get(&sorted)
            .map(|i| found(i, MatchKind::SameWords, 0.97))
    }

    /// The `n` nearest rows, best first, whatever their score.
    pub fn search(&self, label: &str, n: usize) -> Vec<FoodMatch<'_>> {
        let words = text::words(label);
        let first = self.named(&words);
        let taken = first.map(|m| m.food.name.clone());
        first
            .into_iter()
            .chain(
                self.index
                    .nearest(&words)
                    .into_iter()
                    .map(|(i, score)| FoodMatch {
                        food: &self.foods()[i],
                        kind: MatchKind::Fuzzy,
                        score,
                    })
                    .filter(move |m| Some(&m.food.name) != taken.as_ref()),
            )
            .take(n)
            .collect()
    }
}
