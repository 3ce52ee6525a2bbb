//! Names that people and models say, and the rows that they find.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use dragunov::contract::ItemFlag;
use dragunov::nutrition::{FoodTable, MatchKind, nourish};

use crate::{item, near};

fn found(label: &str) -> (String, MatchKind) {
    let table = FoodTable::builtin();
    let m = table.lookup(label);
    (m.food.name.clone(), m.kind)
}

#[test]
fn every_label_of_the_bundled_vocabulary_resolves_exactly() {
    let labels = include_str!("../../models/checkpoints/plate-tiny/vlm/labels.txt");
    let mut n = 0;
    for label in labels.lines().map(str::trim).filter(|l| !l.is_empty()) {
        assert_eq!(found(label).1, MatchKind::Exact, "{label}");
        n += 1;
    }
    assert!(n >= 80, "{n}");
    // Classes of ECUSTFD as its files spell them.
    for label in [
        "qiwi",
        "fired_dough_twist",
        "mooncake",
        "litchi",
        "sachima",
        "bun",
    ] {
        assert_eq!(found(label).1, MatchKind::Exact, "{label}");
    }
}

#[test]
fn spelling_order_state_and_category_are_understood() {
    for (label, name) in [
        ("Fried Rice", "fried rice"),
        ("egg-fried rice", "fried rice"),
        ("RICE, FRIED", "fried rice"),
        ("steamed white rice", "white rice, cooked"),
        ("grilled chicken breasts", "chicken breast, roasted"),
        ("crème brûlée", "flan"),
        ("spagetti bolognese", "pasta with meat sauce"),
        ("scrambled egg", "scrambled eggs"),
        ("a slice of cheese pizza", "pizza, cheese"),
        ("poached salmon fillet", "salmon, cooked"),
        ("strawberrys", "strawberries"),
        ("vanilla ice-cream scoop", "ice cream, vanilla"),
        ("roasted potatoes", "potato, roasted"),
        ("mashed potatoes", "mashed potato"),
        ("boiled broccoli", "broccoli, cooked"),
        ("blueberry muffins", "muffin, blueberry"),
    ] {
        assert_eq!(found(label).0, name, "{label}");
    }
    for (label, category) in [
        ("zorblax salad", "salad"),
        ("quetzal soup", "soup"),
        ("grilled xyloph fish", "fish"),
    ] {
        let table = FoodTable::builtin();
        let m = table.lookup(label);
        assert_eq!(
            (m.kind, m.food.category.as_str()),
            (MatchKind::Category, category),
            "{label}"
        );
        assert!(m.food.id.is_none());
    }
    for label in ["unknown", "", "  ", "?!", "xqzt", "🍣🍣"] {
        assert_eq!(found(label).1, MatchKind::Unknown, "{label:?}");
    }
}

/// What a name may be answered with.
enum Right {
    Id(&'static [&'static str]),
    /// A row or an average of one of these categories.
    In(&'static [&'static str]),
    /// The average of a category.
    Average(&'static str),
    /// A row of any of these categories whose match is not called exact.
    Flagged(&'static [&'static str]),
}

#[test]
fn the_head_of_a_name_decides() {
    use Right::{Average, Flagged, Id, In};
    let table = FoodTable::builtin();
    for (label, right) in [
        ("swiss cheese", In(&["dairy"])),
        ("carrot cake", In(&["dessert"])),
        ("banana bread", In(&["bread", "dessert"])),
        ("almond milk", In(&["drink"])),
        ("oat milk", In(&["drink"])),
        ("coconut water", In(&["drink"])),
        ("onion rings", In(&["vegetable", "snack"])),
        ("parmesan", In(&["dairy"])),
        ("tea", Id(&["tea_unsweetened"])),
        ("salad", Average("salad")),
        ("meat", Average("meat")),
        ("soup", In(&["soup"])),
        ("chocolate milk", In(&["drink"])),
        ("milk chocolate", In(&["sweet", "dessert"])),
        ("butter beans", In(&["legume"])),
        ("grilled pork", In(&["meat"])),
        ("garlic", In(&["vegetable"])),
        (
            "lettuce",
            Id(&["lettuce_salad_undressed", "lettuce_iceberg_shredded"]),
        ),
        ("bowl of rice", Id(&["white_rice_cooked"])),
        ("1 cup rice", Id(&["white_rice_cooked"])),
        ("large fries", Id(&["french_fries"])),
        ("200 g chicken breast", Id(&["chicken_breast_roasted"])),
        ("glass of milk", Id(&["milk_whole"])),
        ("plate of spaghetti", Id(&["spaghetti_cooked"])),
        ("2 eggs", Id(&["egg_boiled", "egg_fried"])),
        ("cornflakes", In(&["grain"])),
        ("corn flakes", In(&["grain"])),
        ("hotdog", Id(&["hot_dog_in_bun"])),
        ("cheese cake", Id(&["cheesecake"])),
        ("chick peas", Id(&["chickpeas_cooked"])),
        ("water melon", Id(&["watermelon_cut", "watermelon_slice"])),
        ("cous cous", Id(&["couscous_cooked"])),
        ("corn bread", Id(&["cornbread"])),
        ("coke", Id(&["cola"])),
        ("apple sauce", Flagged(&["fruit"])),
        ("egg white", Flagged(&["egg"])),
        ("bean burger", Flagged(&["sandwich", "legume", "vegetable"])),
        ("peanut butter cup", Flagged(&["unknown", "dessert", "sweet"])),
        ("ginger ale", In(&["drink"])),
        ("scrambled egg", Id(&["scrambled_eggs"])),
        ("grapefruit juice", In(&["drink"])),
        ("lemon chicken", In(&["meat", "mixed_dish"])),
        ("aubergine", Id(&["eggplant_cooked"])),
        ("courgette", In(&["vegetable"])),
        ("king prawns", In(&["fish"])),
        ("jacket potato", Id(&["potato_baked"])),
        ("yoghurt", In(&["dairy"])),
        ("cauliflower rice", In(&["grain", "vegetable"])),
        ("rice pudding", In(&["dessert"])),
        ("tomato juice", In(&["drink"])),
        ("peanut oil", In(&["fat"])),
        ("fish cake", In(&["fish", "dessert"])),
        ("cream of mushroom soup", In(&["soup"])),
        ("camembert", In(&["dairy"])),
        ("smoked mackerel", In(&["fish"])),
        ("pumpkin seeds", In(&["nut"])),
        ("orange marmalade", In(&["sweet"])),
        ("duck breast", In(&["meat"])),
        ("walnut oil", In(&["fat"])),
        ("spagetti", Id(&["spaghetti_cooked"])),
        ("brocolli", Id(&["broccoli_cooked"])),
    ] {
        let m = table.lookup(label);
        let id = m.food.id.as_ref().map(|id| id.as_str());
        let got = format!(
            "{label}: {:?} {} {:?} {:.2}",
            id, m.food.category, m.kind, m.score
        );
        let sure = matches!(m.kind, MatchKind::Exact | MatchKind::SameWords);
        match right {
            Id(ids) => assert!(id.is_some_and(|id| ids.contains(&id)), "{got}"),
            In(categories) => assert!(categories.contains(&m.food.category.as_str()), "{got}"),
            Average(category) => assert!(id.is_none() && m.food.category == category, "{got}"),
            Flagged(categories) => {
                assert!(!sure && categories.contains(&m.food.category.as_str()), "{got}");
            }
        }
    }
}

#[test]
fn amounts_in_a_name_are_kept() {
    let table = FoodTable::builtin();
    for (label, grams) in [
        ("2 eggs", 100.0),
        ("1 cup rice", 158.0),
        ("200 g chicken breast", 200.0),
        ("large fries", 154.0),
        ("glass of milk", 247.0),
        ("3 slices of white bread", 84.0),
    ] {
        let m = table.lookup(label);
        let told = m.amount.and_then(|a| a.mass(m.food));
        near(
            told.unwrap_or_else(|| panic!("{label}: nothing told")).grams,
            grams,
            0.03,
        );
    }
    for label in ["rice", "bowl of rice", "a plate of spaghetti"] {
        assert!(table.lookup(label).amount.is_none(), "{label}");
    }
    // 150 cm3 of rice weigh 100 g; a cup of it 158 g. Both count by what they are worth.
    let weighed = |label: &str| nourish(&table, &[item(label, 150.0)]).unwrap().items.remove(0);
    let (plain, told) = (weighed("rice"), weighed("1 cup rice"));
    assert!(told.flags.contains(&ItemFlag::LabelAmount) && !plain.flags.contains(&ItemFlag::LabelAmount));
    assert!(plain.mass_g.p50 < told.mass_g.p50 && told.mass_g.p50 < 158.0);
    assert!(told.mass_g.sigma_ln() < plain.mass_g.sigma_ln());
    let absurd = weighed("3 kg rice");
    assert_eq!(absurd.mass_g, plain.mass_g);
    assert!(absurd.flags.contains(&ItemFlag::LabelAmountDisagrees));
    assert!(plain.details.fibre_g.is_some() && plain.details.sodium_mg.is_some());
}

/// Names of every kind that people type: heads, orders of words, amounts, spellings, plurals, British words, accents.
#[test]
fn names_that_were_kept_aside_are_right() {
    let table = FoodTable::builtin();
    let (mut rows, mut wrong) = (0, Vec::new());
    let lines = include_str!("names.tsv").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [label, right, never, grams] = fields[..] else {
            panic!("{line}: four fields")
        };
        rows += 1;
        let m = table.lookup(label);
        let id = m.food.id.as_ref().map(|id| id.as_str());
        let fits = right.split(',').any(|r| match r.strip_prefix('=') {
            Some(category) => m.food.category == category,
            None => id == Some(r),
        });
        let named = |word: &str| !word.is_empty() && id.is_some() && m.food.name.contains(word);
        let told = m.amount.and_then(|a| a.mass(m.food)).map(|told| told.grams);
        let amount = match (grams, told) {
            ("" | "any", _) | ("none", None) => true,
            (range, Some(told)) => range.split_once('-').is_some_and(|(low, high)| {
                (low.parse::<f64>().unwrap()..=high.parse().unwrap()).contains(&told)
            }),
            _ => false,
        };
        if !fits || never.split(',').any(named) || !amount {
            wrong.push(format!(
                "{label}: {id:?} {} ({}) {:?} {:.2}, {told:?} g",
                m.food.name, m.food.category, m.kind, m.score
            ));
        }
    }
    assert!(rows >= 60, "{rows}");
    assert!(
        wrong.is_empty(),
        "{} of {rows}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Labels of every kind, each another: names, misspelt names, foods of large heads with what no row has, long sentences, nonsense.
fn ten_thousand() -> Vec<String> {
    let table = FoodTable::builtin();
    let names: Vec<&str> = table.foods().iter().map(|f| f.name.as_str()).collect();
    let heads = [
        "chicken", "beef", "soup", "cheese", "milk", "bread", "rice", "beans",
    ];
    (0..10_000)
        .map(|i| {
            let (name, head) = (names[i % names.len()], heads[i % heads.len()]);
            match i % 5 {
                0 => name.to_owned(),
                // A letter left out of the middle of every word.
                1 => {
                    let words = name.split(' ').map(|w| {
                        let middle = w.chars().count() / 2;
                        let kept = w.chars().enumerate().filter(|(k, _)| *k != middle);
                        kept.map(|(_, c)| c).collect::<String>()
                    });
                    words.collect::<Vec<_>>().join(" ")
                }
                2 => format!("{i} g roasted {head} with {}", names[(i * 7) % names.len()]),
                3 => format!(
                    "zq{i}xlo vbrun{i}k {head}s qwertzuiop asdfghjklm, {name} und noch etwas mehr davon"
                ),
                _ => "bnqwpolk ".repeat(1 + i % 40),
            }
        })
        .collect()
}

/// What this thread has computed for: other programs do not count. Linux tells it; elsewhere the clock does.
fn computed() -> Duration {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| BEGUN.elapsed(), Duration::from_nanos)
}

/// About a second; a walk through the vocabulary for each word that is in nobody's spelling took half a minute.
#[test]
fn ten_thousand_names_are_looked_up_in_a_moment() {
    let (table, labels) = (FoodTable::builtin(), ten_thousand());
    let took = |labels: &[String]| {
        let begun = computed();
        for label in labels {
            assert!(table.lookup(label).score.is_finite());
        }
        computed() - begun
    };
    let all = took(&labels);
    eprintln!("10,000 names: {all:?}");
    for kind in 0..5 {
        let of_kind: Vec<String> = labels.iter().skip(kind).step_by(5).cloned().collect();
        eprintln!("2,000 of kind {kind}: {:?}", took(&of_kind));
    }
    assert!(all < Duration::from_secs(10), "{all:?}");
}
