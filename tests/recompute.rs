//! Corrections of a scan: told grams, labels, portions, answers; and what cannot be.
#![allow(clippy::unwrap_used)]

use dragunov::contract::ScanResult;
use dragunov::contract::photos::MealPhoto;
use dragunov::contract::recompute::{Answer, Edit, Origin, RecomputeRequest};
use dragunov::contract::result::Item;
use dragunov::nutrition::FoodTable;
use dragunov::recompute::{place, recompute, recompute_with};
use dragunov::{ErrorCode, ImageSource};
use proptest::prelude::*;

/// A real answer of the sample photo, as the backend's tests have it too.
fn original() -> ScanResult {
    serde_json::from_str(include_str!("../fixtures/contract/scan_result.json")).unwrap()
}

fn with(edits: Vec<Edit>) -> Result<ScanResult, dragunov::ScanError> {
    recompute(RecomputeRequest::new(original(), edits), &FoodTable::builtin())
}

fn of(item: &Item) -> Edit {
    Edit {
        item: Some(item.id.clone()),
        ..Edit::default()
    }
}

fn near(a: f64, b: f64, rel: f64) {
    assert!((a / b - 1.0).abs() < rel, "{a} against {b}");
}

#[test]
fn without_edits_the_numbers_stay() {
    let (before, after) = (original(), with(Vec::new()).unwrap());
    assert!(before.items.len() >= 2);
    for (a, b) in before.items.iter().zip(&after.items) {
        near(a.mass_g.p50, b.mass_g.p50, 1e-9);
        near(a.kcal.p90, b.kcal.p90, 1e-6);
        near(a.volume_cm3.p10, b.volume_cm3.p10, 0.02);
        assert_eq!((&a.label, &a.flags), (&b.label, &b.flags));
    }
    near(before.totals.kcal.p50, after.totals.kcal.p50, 1e-9);
    assert_eq!(*after.original.unwrap(), before);
}

#[test]
fn told_grams_win_and_say_how_far_the_scale_was_off() {
    let before = original();
    let (first, second) = (&before.items[0], &before.items[1]);
    let told = 1.4 * first.mass_g.p50;
    let after = with(vec![Edit {
        grams: Some(told),
        ..of(first)
    }])
    .unwrap();
    let (weighed, other) = (&after.items[0], &after.items[1]);
    near(weighed.mass_g.p50, told, 1e-9);
    assert!(weighed.mass_g.sigma_ln() < 0.03);
    assert_eq!(weighed.origins.mass, Origin::Told);
    assert_eq!(other.origins.mass, Origin::Measured);
    assert!(other.mass_g.p50 > second.mass_g.p50 && other.mass_g.p50 < 1.4 * second.mass_g.p50);
    assert!(other.mass_g.sigma_ln() < second.mass_g.sigma_ln());
    assert!(other.volume_sigma_ln.shared < second.volume_sigma_ln.shared);
    near(other.volume_sigma_ln.own, second.volume_sigma_ln.own, 1e-12);
    near(
        after.totals.mass_g.p50,
        after.items.iter().map(|i| i.mass_g.p50).sum(),
        1e-9,
    );
}

#[test]
fn labels_portions_answers_and_notes() {
    let before = original();
    let first = &before.items[0];
    let bread = with(vec![Edit {
        label: Some("white bread".into()),
        note: Some("toasted".into()),
        ..of(first)
    }])
    .unwrap();
    let item = &bread.items[0];
    assert_eq!(item.food_id.as_deref(), Some("white_bread"));
    assert_eq!((item.origins.label, item.confidence), (Origin::Told, 1.0));
    assert_eq!(item.note.as_deref(), Some("toasted"));
    near(item.volume_cm3.p50, first.volume_cm3.p50, 1e-9);
    assert!((item.mass_g.p50 / first.mass_g.p50 - 1.0).abs() > 0.05);

    let half = with(vec![Edit {
        portion: Some(0.5),
        ..of(first)
    }])
    .unwrap();
    near(half.items[0].kcal.p50, 0.5 * first.kcal.p50, 1e-9);
    near(half.items[0].protein_g.p50, 0.5 * first.protein_g.p50, 1e-9);

    let (item, question) = before
        .items
        .iter()
        .find_map(|i| Some((i, i.questions.iter().find(|q| q.id != "identity")?)))
        .unwrap();
    let option = question.options.last().unwrap();
    let answered = with(vec![Edit {
        answers: vec![Answer {
            question: question.id.clone(),
            option: option.label.clone(),
        }],
        ..of(item)
    }])
    .unwrap();
    let after = answered.items.iter().find(|i| i.id == item.id).unwrap();
    near(after.kcal.p50, item.kcal.p50 + option.kcal, 1e-6);
    assert!(after.questions.iter().all(|q| q.id != question.id), "asked once");
}

#[test]
fn items_come_and_go() {
    let before = original();
    let after = with(vec![
        Edit {
            remove: true,
            ..of(&before.items[0])
        },
        Edit {
            add: true,
            label: Some("apple".into()),
            grams: Some(180.0),
            ..Edit::default()
        },
    ])
    .unwrap();
    assert_eq!(after.items.len(), before.items.len());
    assert!(after.items.iter().all(|i| i.id != before.items[0].id));
    let apple = after.items.last().unwrap();
    assert_eq!(
        (apple.label.as_str(), apple.origins.mass),
        ("apple", Origin::Told)
    );
    near(apple.mass_g.p50, 180.0, 1e-9);
    assert!(before.items.iter().all(|i| i.id != apple.id));
}

/// What a second scan found at the place is taken over; the others stay as they were.
#[test]
fn a_food_is_added_by_its_place_on_the_photo() {
    let (first, second) = {
        let all = original();
        (all.items[0].clone(), all.items[1].clone())
    };
    let mut missed = original();
    missed.items.remove(1);
    let [x0, y0, x1, y1] = second.bbox;
    let middle = [(x0 + x1) / 2.0, (y0 + y1) / 2.0];
    let at = |edit: Edit| {
        let mut request = RecomputeRequest::new(missed.clone(), vec![Edit { add: true, ..edit }]);
        request.photo = Some(Box::new(MealPhoto::new(ImageSource::Bytes(vec![1]))));
        request
    };
    let pointed = at(Edit {
        point: Some(middle),
        ..Edit::default()
    });
    let scan = place::scan_of(&pointed).unwrap().unwrap();
    assert_eq!(scan.hints.items[0].point, Some(middle));
    // The second scan is of the same photo, seen from a little too far.
    let mut found = original();
    found.scale.camera_height_cm = found.scale.camera_height_cm.scaled(1.1);
    found.items[1].volume_cm3 = found.items[1].volume_cm3.scaled(1.1f64.powi(3));
    let table = FoodTable::builtin();
    let boxed = at(Edit {
        bbox: Some([x0 + 3.0, y0 - 3.0, x1, y1]),
        label: Some("steak".into()),
        ..Edit::default()
    });
    for (request, label) in [(pointed.clone(), second.label.as_str()), (boxed, "steak")] {
        let after = recompute_with(request, Some(&found), &table).unwrap();
        assert_eq!(after.items.len(), 2);
        let added = &after.items[1];
        assert_eq!(
            (added.id.as_str(), added.label.as_str(), added.bbox),
            ("added-1", label, second.bbox)
        );
        near(added.volume_cm3.p50, second.volume_cm3.p50, 1e-9);
        assert_eq!(
            (added.origins.mass, added.origins.volume),
            (Origin::Measured, Origin::Measured)
        );
        near(after.items[0].mass_g.p50, first.mass_g.p50, 1e-9);
    }
    // Grams told of it speak for the photo's scale as those of any other item do.
    let weighed = at(Edit {
        point: Some(middle),
        grams: Some(1.5 * second.mass_g.p50),
        ..Edit::default()
    });
    let after = recompute_with(weighed, Some(&found), &table).unwrap();
    assert!(after.items[0].mass_g.p50 > first.mass_g.p50);

    let nowhere = at(Edit {
        point: Some([2.0, 2.0]),
        ..Edit::default()
    });
    assert_eq!(
        recompute_with(nowhere, Some(&found), &table).unwrap_err().code,
        ErrorCode::NoFood
    );
    found.image.width += 1;
    let other = recompute_with(pointed.clone(), Some(&found), &table).unwrap_err();
    assert!(
        other.code == ErrorCode::InvalidField && other.message.contains("pixels"),
        "{other}"
    );
    assert!(
        recompute(pointed.clone(), &table)
            .unwrap_err()
            .message
            .contains("photo")
    );
    let without = RecomputeRequest {
        photo: None,
        ..pointed
    };
    assert!(
        place::scan_of(&without)
            .unwrap_err()
            .message
            .contains("photo: is needed")
    );
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let before = original();
    let first = || of(&before.items[0]);
    let long = "x".repeat(10_000);
    let cases: Vec<(Vec<Edit>, &str)> = vec![
        (
            vec![Edit {
                item: Some("nobody".into()),
                grams: Some(1.0),
                ..Edit::default()
            }],
            "edits[0].item",
        ),
        (
            vec![Edit {
                grams: Some(0.0),
                ..first()
            }],
            "edits[0].grams",
        ),
        (
            vec![Edit {
                grams: Some(50_000.0),
                ..first()
            }],
            "edits[0].grams",
        ),
        (
            vec![Edit {
                grams: Some(f64::NAN),
                ..first()
            }],
            "edits[0].grams",
        ),
        (
            vec![Edit {
                portion: Some(-1.0),
                ..first()
            }],
            "edits[0].portion",
        ),
        (
            vec![Edit {
                note: Some(long.clone()),
                ..first()
            }],
            "edits[0].note",
        ),
        (
            vec![Edit {
                label: Some(long),
                ..first()
            }],
            "edits[0].label",
        ),
        (
            vec![Edit {
                label: Some("  ".into()),
                ..first()
            }],
            "edits[0].label",
        ),
        (vec![first()], "changes nothing"),
        (
            vec![Edit {
                remove: true,
                grams: Some(3.0),
                ..first()
            }],
            "edits[0].remove",
        ),
        (
            vec![
                Edit {
                    portion: Some(0.5),
                    ..first()
                },
                Edit {
                    grams: Some(3.0),
                    ..first()
                },
            ],
            "twice",
        ),
        (
            vec![Edit {
                add: true,
                label: Some("apple".into()),
                ..Edit::default()
            }],
            "edits[0].add",
        ),
        (vec![Edit::default()], "say which item"),
        (
            vec![Edit {
                point: Some([1.0, 1.0]),
                ..first()
            }],
            "edits[0].point",
        ),
        (
            vec![
                Edit {
                    add: true,
                    label: Some("apple".into()),
                    grams: Some(9.0),
                    ..Edit::default()
                };
                65
            ],
            "64",
        ),
        (
            vec![Edit {
                answers: vec![Answer {
                    question: "oil".into(),
                    option: "a barrel".into(),
                }],
                ..first()
            }],
            "has no question",
        ),
    ];
    for (edits, says) in cases {
        let error = with(edits).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidField);
        assert!(
            error.message.contains(says) && error.message.len() < 300,
            "{}",
            error.message
        );
    }
    let again = with(vec![Edit {
        grams: Some(80.0),
        ..first()
    }])
    .unwrap();
    let request = RecomputeRequest::new(again, Vec::new());
    let error = recompute(request, &FoodTable::builtin()).unwrap_err();
    assert!(error.message.contains("recomputed already"));
}

/// Equal but for the last digits, in which builds of different optimisation may differ.
fn same(a: &serde_json::Value, b: &serde_json::Value, at: &str) {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(x), Number(y)) => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            assert!((x - y).abs() <= 1e-9 * y.abs(), "{at}: {x} and {y}");
        }
        (Array(x), Array(y)) => {
            assert_eq!(x.len(), y.len(), "{at}");
            x.iter()
                .zip(y)
                .enumerate()
                .for_each(|(i, (x, y))| same(x, y, &format!("{at}[{i}]")));
        }
        (Object(x), Object(y)) => {
            assert!(x.keys().eq(y.keys()), "{at}");
            x.iter()
                .for_each(|(key, x)| same(x, &y[key], &format!("{at}.{key}")));
        }
        _ => assert_eq!(a, b, "{at}"),
    }
}

#[test]
fn the_fixtures_are_what_the_code_answers() {
    let request: RecomputeRequest =
        serde_json::from_str(include_str!("../fixtures/contract/recompute_request.json")).unwrap();
    let expected: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/contract/recompute_result.json")).unwrap();
    let answer = serde_json::to_value(recompute(request, &FoodTable::builtin()).unwrap()).unwrap();
    // Written by `dragunov recompute fixtures/contract/recompute_request.json`.
    same(&answer["totals"], &expected["totals"], "totals");
    same(&answer["items"], &expected["items"], "items");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However the masses are told, every estimate is in order, and the others never get less sure.
    #[test]
    fn estimates_stay_in_order(factor in 0.2f64..5.0, portion in 0.05f64..5.0) {
        let before = original();
        let (first, second) = (&before.items[0], &before.items[1]);
        let after = with(vec![
            Edit { grams: Some((factor * first.mass_g.p50).clamp(0.5, 5000.0)), ..of(first) },
            Edit { portion: Some(portion), ..of(second) },
        ]).unwrap();
        for item in &after.items {
            for e in [item.mass_g, item.kcal, item.protein_g, item.volume_cm3] {
                prop_assert!(e.p10 >= 0.0 && e.p10 <= e.p50 && e.p50 <= e.p90 && e.p90.is_finite());
            }
        }
        prop_assert!(after.items[1].mass_g.sigma_ln() <= second.mass_g.sigma_ln() + 1e-9 || after.items[1].mass_g.p50 < 1.0 || after.items[1].mass_g.p50 > 2500.0);
    }
}
