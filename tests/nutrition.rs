//! The food table, lookup, and the arithmetic from volume to kcal.
#![allow(clippy::unwrap_used)]

#[path = "nutrition/lookup.rs"]
mod lookup;

use dragunov::Estimated;
use dragunov::contract::{ItemFlag, WarningCode};
use dragunov::geometry::ShapeClass;
use dragunov::nutrition::{
    Basis, EnergyNote, Food, FoodTable, Form, ItemInput, MatchKind, NutritionError, SHAPES, TableError, Tier,
    VlmGrams, Volume, nourish,
};
use proptest::prelude::*;

fn near(a: f64, b: f64, rel: f64) {
    assert!((a / b - 1.0).abs() < rel, "{a} against {b}");
}

fn item(label: &str, cm3: f64) -> ItemInput {
    ItemInput {
        label: label.into(),
        confidence: 1.0,
        alternatives: Vec::new(),
        volume: Volume {
            p50_cm3: cm3,
            sigma_shared_ln: 0.18,
            sigma_own_ln: 0.10,
        },
        form: None,
        vlm: None,
        told_g: None,
        portion: 1.0,
        answers: Vec::new(),
    }
}

#[test]
fn builtin_rows_obey_physics_and_atwater() {
    let table = FoodTable::builtin();
    assert!(table.foods().len() >= 4000, "{}", table.foods().len());
    let mut noted = 0;
    for food in table.foods() {
        let n = &food.per_100g;
        match food.energy_note {
            None => {
                let most = if food.tier == Tier::Core { 0.2 } else { 0.35 };
                assert!(n.energy_gap() <= most, "{}: {:.2}", food.name, n.energy_gap());
            }
            Some(EnergyNote::Alcohol) => assert!(n.kcal > n.kcal_by_macros(), "{}", food.name),
            Some(EnergyNote::Fibre) => {
                noted += usize::from(food.tier == Tier::Core);
                assert!(n.kcal < n.kcal_by_macros(), "{}", food.name);
            }
        }
        let d = food.density_g_cm3;
        assert!(
            d.p10 >= 0.03 && d.p90 <= 1.6 && d.p10 <= d.p50 && d.p50 <= d.p90,
            "{}",
            food.name
        );
        assert!(SHAPES.contains(&food.shape.as_str()));
        assert_ne!(food.shape_class(), ShapeClass::Unknown, "{}", food.name);
        assert!(
            food.density_source.len() > 5 && food.nutrient_source.len() > 5,
            "{}",
            food.name
        );
        let piece = food.density(Form::Pieces);
        assert!(
            food.tier == Tier::LongTail || piece.p50 >= food.density(Form::Pile).p50 * 0.98,
            "{}: a piece is no lighter than a heap",
            food.name
        );
    }
    assert!(noted <= 20, "{noted} rows are excused as fibre");
}

#[test]
fn every_name_alias_and_id_finds_its_own_row() {
    let table = FoodTable::builtin();
    for food in table.foods() {
        for name in std::iter::once(&food.name).chain(&food.aliases) {
            let m = table.lookup(name);
            assert_eq!(
                (m.food.name.as_str(), m.kind),
                (food.name.as_str(), MatchKind::Exact),
                "{name}"
            );
        }
        assert_eq!(
            table.by_id(food.id.as_ref().unwrap().as_str()).unwrap().name,
            food.name
        );
    }
}

#[test]
fn fallbacks_are_wide_and_lie_among_their_foods() {
    let table = FoodTable::builtin();
    let unknown = table.unknown();
    assert!(
        (0.4..1.0).contains(&unknown.density_g_cm3.p50),
        "{:?}",
        unknown.density_g_cm3
    );
    assert!(
        (100.0..300.0).contains(&unknown.per_100g.kcal),
        "{}",
        unknown.per_100g.kcal
    );
    assert!(unknown.kcal_sigma_ln > 0.5);
    near(unknown.per_100g.kcal_by_macros(), unknown.per_100g.kcal, 1e-9);
    for name in ["salad", "soup", "fruit", "meat", "bread"] {
        let average = table.category(name).unwrap();
        let kcal = || {
            table
                .foods()
                .iter()
                .filter(|f| f.category == name)
                .map(|f| f.per_100g.kcal)
        };
        let (low, high) = (kcal().fold(f64::MAX, f64::min), kcal().fold(0.0, f64::max));
        assert!((low..=high).contains(&average.per_100g.kcal), "{name}");
        assert!(average.kcal_sigma_ln >= 0.25);
    }
    let meal = nourish(&table, &[item("xqzt", 100.0), item("white rice", 100.0)]).unwrap();
    let [blind, rice] = &meal.items[..] else { panic!() };
    assert!(blind.food_id.is_none() && blind.flags.contains(&ItemFlag::LabelUnknown));
    assert!(blind.kcal.sigma_ln() > 2.0 * rice.kcal.sigma_ln());
}

#[test]
fn mass_is_volume_times_density_and_logs_add() {
    let table = FoodTable::builtin();
    let meal = nourish(&table, &[item("lentils", 200.0)]).unwrap();
    let got = &meal.items[0];
    let food = table.by_id("lentils_cooked").unwrap();
    assert_eq!(got.food_id.as_ref().unwrap().as_str(), "lentils_cooked");
    near(got.mass_g.p50, 200.0 * food.density_g_cm3.p50, 1e-12);
    near(got.kcal.p50, got.mass_g.p50 * food.per_100g.kcal / 100.0, 1e-12);
    near(
        got.protein_g.p50,
        got.mass_g.p50 * food.per_100g.protein_g / 100.0,
        1e-12,
    );
    let sigma = (0.18f64.powi(2) + 0.10f64.powi(2) + food.density_g_cm3.sigma_ln().powi(2)).sqrt();
    near(got.mass_g.sigma_ln(), sigma, 1e-9);
    near(got.kcal.sigma_ln(), sigma.hypot(food.kcal_sigma_ln), 1e-9);
}

#[test]
fn scale_errors_of_one_photo_do_not_average_out() {
    // Shared 18 %, independent 15 %, four equal items: sqrt(18^2 + 15^2 / 4) = 19.5 %, not 11.7 %.
    let mut table_row = FoodTable::builtin().rows()[0].clone();
    table_row.density_low = table_row.density_g_cm3;
    table_row.density_high = table_row.density_g_cm3;
    let table = FoodTable::from_rows(vec![table_row]).unwrap();
    let one = ItemInput {
        volume: Volume {
            p50_cm3: 100.0,
            sigma_shared_ln: 0.18,
            sigma_own_ln: 0.15,
        },
        ..item(&table.foods()[0].name, 100.0)
    };
    let meal = nourish(&table, &vec![one.clone(); 4]).unwrap();
    near(meal.totals.mass_g.sigma_ln(), 0.195, 0.01);
    near(meal.totals.mass_g.p50, 4.0 * meal.items[0].mass_g.p50, 1e-12);
    // A single item's total is that item.
    let alone = nourish(&table, &[one]).unwrap();
    near(alone.totals.mass_g.p10, alone.items[0].mass_g.p10, 1e-9);
    let nothing = nourish(&table, &[]).unwrap();
    assert_eq!(nothing.totals.kcal, Estimated::exact(0.0));
}

#[test]
fn heaps_and_single_pieces_have_their_own_density() {
    let table = FoodTable::builtin();
    let weigh = |label: &str, form| {
        let input = ItemInput {
            form,
            ..item(label, 100.0)
        };
        nourish(&table, &[input]).unwrap().items[0].density_g_cm3.p50
    };
    near(weigh("cherry tomatoes", Some(Form::Pile)), 0.63, 1e-9);
    near(weigh("cherry tomatoes", Some(Form::Pieces)), 0.98, 1e-9);
    // Balls are measured one by one, rice never is.
    near(weigh("cherry tomatoes", None), 0.98, 1e-9);
    near(weigh("white rice", None), 0.668, 1e-9);
    near(weigh("potato", None), 1.05, 1e-9);
    // A heap's row says nothing of one piece: water stands in.
    near(weigh("chickpeas", Some(Form::Pieces)), 1.03, 1e-9);
}

#[test]
fn weighed_objects_of_ecustfd_agree_with_the_table() {
    // Volume by displacement (cm3) and mass (g) of single objects, ECUSTFD development part.
    let table = FoodTable::builtin();
    let objects = [
        ("apple", 310.0, 244.5),
        ("apple", 290.0, 232.5),
        ("apple", 280.0, 219.0),
        ("apple", 280.0, 212.5),
    ];
    for (label, cm3, grams) in objects {
        let food = table.lookup(label).food;
        let d = food.density(Form::Pieces);
        let real = grams / cm3;
        assert!(
            real > d.p10 * 0.95 && real < d.p90 * 1.05,
            "{label}: {real:.3} outside {d:?}"
        );
    }
}

#[test]
fn a_vision_models_grams_are_fused_by_trust() {
    let table = FoodTable::builtin();
    let with = |grams| {
        let input = ItemInput {
            vlm: Some(VlmGrams { grams }),
            ..item("lentils", 200.0)
        };
        nourish(&table, &[input]).unwrap().items.remove(0)
    };
    let plain = nourish(&table, &[item("lentils", 200.0)])
        .unwrap()
        .items
        .remove(0);
    let m = plain.mass_g.p50;
    let same = with(m);
    near(same.mass_g.p50, m, 1e-9);
    assert!(same.mass_g.sigma_ln() < plain.mass_g.sigma_ln());
    let more = with(1.5 * m);
    assert!(
        more.mass_g.p50 > m && more.mass_g.p50 < m * 1.5f64.sqrt(),
        "geometry weighs more than the guess"
    );
    assert!(more.flags.contains(&ItemFlag::MassFused));
    let absurd = with(20.0 * m);
    near(absurd.mass_g.p50, m, 1e-12);
    assert!(absurd.flags.contains(&ItemFlag::VlmGramsDisagree));
    near(with(f64::NAN).mass_g.p50, m, 1e-12);
}

#[test]
fn doubt_about_the_label_widens_kcal_and_lists_what_else() {
    let table = FoodTable::builtin();
    let unsure = ItemInput {
        confidence: 0.6,
        alternatives: vec![
            ("croissant".into(), 0.3),
            ("banana".into(), 0.1),
            ("xqzt".into(), 0.1),
        ],
        ..item("bread roll", 150.0)
    };
    let sure = nourish(&table, &[item("bread roll", 150.0)])
        .unwrap()
        .items
        .remove(0);
    let got = nourish(&table, &[unsure]).unwrap().items.remove(0);
    assert!(got.kcal.sigma_ln() > 1.2 * sure.kcal.sigma_ln());
    near(got.kcal.p50, sure.kcal.p50, 1e-12);
    let labels: Vec<_> = got.alternatives.iter().map(|a| a.label.as_str()).collect();
    assert_eq!(labels, ["croissant", "banana"]);
    let croissant = table.by_id("croissant").unwrap();
    near(
        got.alternatives[0].mass_g,
        150.0 * croissant.density_g_cm3.p50,
        1e-12,
    );
    near(got.alternatives[0].kcal, got.alternatives[0].mass_g * 4.06, 1e-9);
}

#[test]
fn the_two_questions_that_matter_most_are_asked() {
    let table = FoodTable::builtin();
    let plate = [
        item("fried rice", 400.0),
        item("green salad", 600.0),
        item("apple", 200.0),
        item("green beans", 20.0),
        item("black coffee", 200.0),
    ];
    let meal = nourish(&table, &plate).unwrap();
    let asked: Vec<_> = meal
        .items
        .iter()
        .enumerate()
        .flat_map(|(i, item)| item.questions.iter().map(move |q| (i, q.id.as_str())))
        .collect();
    assert_eq!(asked, [(0, "oil"), (1, "dressing")]);
    let oil = &meal.items[0].questions[0];
    assert!(oil.text.contains("fried rice"));
    assert_eq!(
        oil.options.iter().filter(|o| o.kcal == 0.0).count(),
        1,
        "one option is the assumption"
    );
    assert!(oil.options.iter().all(|o| meal.items[0].kcal.p50 + o.kcal >= 0.0));
    // Nothing worth asking about an apple alone.
    assert!(
        nourish(&table, &[item("apple", 200.0)]).unwrap().items[0]
            .questions
            .is_empty()
    );
    // Two labels of very different energy are worth a tap.
    let unsure = ItemInput {
        confidence: 0.5,
        alternatives: vec![("apple".into(), 0.5)],
        ..item("doughnut", 300.0)
    };
    let meal = nourish(&table, &[unsure]).unwrap();
    assert_eq!(meal.items[0].questions[0].id, "identity");
}

#[test]
fn absurd_amounts_are_flagged_and_impossible_ones_refused() {
    let table = FoodTable::builtin();
    let huge = nourish(&table, &[item("steak", 9000.0)]).unwrap();
    assert!(huge.items[0].flags.contains(&ItemFlag::MassImplausible));
    assert!(huge.items[0].mass_g.sigma_ln() > 0.69);
    assert_eq!(huge.warnings[0].code, WarningCode::MealImplausible);
    for cm3 in [0.0, -3.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            nourish(&table, &[item("steak", cm3)]),
            Err(NutritionError::Volume(_))
        ));
    }
    let mut bad = item("steak", 100.0);
    bad.volume.sigma_own_ln = f64::NAN;
    assert!(matches!(nourish(&table, &[bad]), Err(NutritionError::Sigma(_))));
    let water = nourish(&table, &[item("water", 250.0)]).unwrap();
    assert_eq!(water.items[0].kcal, Estimated::exact(0.0));
}

#[test]
fn rows_that_cannot_be_are_refused_by_name() {
    let rows = FoodTable::builtin().rows();
    let with = |change: &dyn Fn(&mut dragunov::nutrition::FoodRow)| {
        let mut rows = rows[..3].to_vec();
        change(&mut rows[1]);
        FoodTable::from_rows(rows).unwrap_err().to_string()
    };
    for (message, column) in [
        (with(&|r| r.density_g_cm3 = 2.5), "density_g_cm3"),
        (with(&|r| r.density_low = 0.99), "density_g_cm3"),
        (with(&|r| r.kcal_100g = 950.0), "kcal_100g"),
        (with(&|r| r.kcal_100g = f64::NAN), "kcal_100g"),
        (with(&|r| r.kcal_100g = 400.0), "4/4/9"),
        (with(&|r| r.carbs_100g = 99.9), "fat_100g"),
        (with(&|r| r.shape = "blob".into()), "shape"),
        (with(&|r| r.basis = "gas".into()), "basis"),
        (with(&|r| r.id = "Bad Id".into()), "id"),
        (with(&|r| r.id = "white_rice_cooked".into()), "twice"),
        (with(&|r| r.aliases = "steamed rices".into()), "names both"),
    ] {
        assert!(message.contains(column), "{message}");
    }
    assert!(matches!(FoodTable::from_rows(vec![]), Err(TableError::Empty)));
    // In CSV text the line is told too.
    assert!(matches!(FoodTable::from_csv("\n"), Err(TableError::Empty)));
    let text = include_str!("../src/nutrition/foods.csv");
    let lines: Vec<&str> = text.lines().collect();
    let changed = |n: usize, line: String| {
        let mut lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        lines[n] = line;
        FoodTable::from_csv(&lines.join("\n")).unwrap_err().to_string()
    };
    let renamed = |n: usize| lines[n].replacen(',', "x,", 1);
    for (message, part) in [
        (changed(0, "id,name".into()), "line 1: column aliases is missing"),
        (
            changed(1, format!("{},more", lines[1])),
            "line 2: 27 fields instead of 26",
        ),
        (changed(2, format!("{}\"", lines[2])), "line 3: a quote"),
        (changed(6, lines[5].into()), "line 7: "),
        (changed(8, renamed(7)), "line 9: "),
        (changed(9, lines[9].replacen("_", "-", 1)), "line 10: "),
    ] {
        assert!(message.contains(part), "{message} / {part}");
    }
    // Rows survive the way through storage.
    let again = FoodTable::from_rows(rows.clone()).unwrap();
    assert_eq!(again.rows(), rows);
    assert_eq!(
        again
            .foods()
            .iter()
            .filter(|f: &&Food| f.basis == Basis::Leaf && f.tier == Tier::Core)
            .count(),
        4
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_label_finds_something(label in "\\PC{0,60}") {
        let table = FoodTable::builtin();
        let m = table.lookup(&label);
        prop_assert!((0.0..=1.0).contains(&m.score));
        prop_assert!(table.search(&label, 5).len() <= 5);
    }

    #[test]
    fn intervals_are_ordered_and_scale_with_volume(
        pick in any::<prop::sample::Index>(),
        cm3 in 2.0f64..1500.0,
        shared in 0.0f64..0.6,
        own in 0.0f64..0.6,
    ) {
        let table = FoodTable::builtin();
        let food = pick.get(table.foods());
        let at = |cm3| {
            let input = ItemInput {
                volume: Volume { p50_cm3: cm3, sigma_shared_ln: shared, sigma_own_ln: own },
                ..item(&food.name, cm3)
            };
            nourish(&table, &[input]).unwrap()
        };
        let (one, two) = (at(cm3), at(2.0 * cm3));
        for e in [one.items[0].mass_g, one.items[0].kcal, one.items[0].fat_g, one.totals.kcal] {
            prop_assert!(e.p10 <= e.p50 && e.p50 <= e.p90 && e.p10 >= 0.0 && e.p90.is_finite(), "{e:?}");
        }
        prop_assert!((two.items[0].mass_g.p50 - 2.0 * one.items[0].mass_g.p50).abs() < 1e-9 * cm3);
    }
}
