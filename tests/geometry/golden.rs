//! Volumes of the sample plates to the ninth digit, so that a change that should change nothing is seen to change nothing.
//!
//! A change that should is accepted with `UPDATE_GOLDEN=1 cargo test --test geometry golden` and explained in its commit.

use std::fmt::Write;
use std::path::Path;

use dragunov::eval::oracle::{Damage, Oracle};
use dragunov::eval::{Dataset, GeometryOnly, Outcome, convert, run};
use dragunov::nutrition::FoodTable;

fn volumes(oracles: &[Oracle], damage: Damage) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plates");
    let samples = convert::plates(&root).unwrap();
    let geometry = GeometryOnly {
        oracles: oracles.to_vec(),
        damage,
        portions: true,
        ..GeometryOnly::default()
    };
    let outcomes = run(
        &Dataset { root, samples },
        &geometry,
        &FoodTable::builtin(),
        |_| (),
    );
    outcomes.items.iter().fold(String::new(), |mut out, o| {
        writeln!(out, "{}", line(o).trim_end()).unwrap();
        out
    })
}

fn line(o: &Outcome) -> String {
    let flags: Vec<&str> = o.flags.iter().map(|f| f.as_str()).collect();
    match o.predicted.volume_cm3 {
        Some(v) => format!(
            "{} {}: {:.6} {:.6} {:.6} {}",
            o.sample,
            o.label,
            v.p10,
            v.p50,
            v.p90,
            flags.join(" ")
        ),
        None => format!("{} {}: {:?}", o.sample, o.label, o.fate),
    }
}

/// Line by line, so that the first item that moved is shown.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/geometry/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (found, golden) in text.lines().zip(golden.lines()) {
        assert_eq!(found, golden, "{name}");
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{name}");
}

#[test]
fn golden_true_depth() {
    use Oracle::{Camera, Depth, Labels, Masks, Scale};
    let text = volumes(&[Masks, Depth, Camera, Labels, Scale], Damage::default());
    compare("true_depth", &text);
}

#[test]
fn golden_disparity_of_8_bits_with_noise() {
    use Oracle::{Camera, Disparity, Labels, Masks, Scale};
    let damage = Damage {
        bits: Some(8),
        noise: 0.01,
        ..Damage::default()
    };
    let text = volumes(&[Masks, Disparity, Camera, Labels, Scale], damage);
    compare("disparity_8_bits_noise", &text);
}

#[test]
fn golden_nothing_of_known_size() {
    use Oracle::{Disparity, Labels, Masks};
    let text = volumes(&[Masks, Disparity, Labels], Damage::default());
    compare("nothing_of_known_size", &text);
}
