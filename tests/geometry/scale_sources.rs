//! The report's groups by what the scale rests on, on the sample plates from true masks and depth.

use std::path::Path;

use dragunov::eval::oracle::Oracle;
use dragunov::eval::report::Report;
use dragunov::eval::{Bootstrap, Dataset, GeometryOnly, Quantity, convert, run};
use dragunov::nutrition::FoodTable;

fn report(oracles: &[Oracle], bootstrap: Option<Bootstrap>) -> Report {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plates");
    let samples = convert::plates(&root).unwrap();
    let geometry = GeometryOnly {
        oracles: oracles.to_vec(),
        portions: true,
        ..GeometryOnly::default()
    };
    let data = Dataset { root, samples };
    let outcomes = run(&data, &geometry, &FoodTable::builtin(), |_| ());
    Report::new("sample plates".into(), outcomes, bootstrap)
}

/// Items of the groups whose name begins so, and the median width of the largest of them.
fn group(report: &Report, name: &str) -> (usize, f64) {
    let of = report.groups.iter().filter(|(n, _)| n.starts_with(name));
    let largest = of.clone().max_by_key(|(_, s)| s.items);
    (
        of.map(|(_, s)| s.items).sum(),
        largest.map_or(0.0, |(_, s)| s.errors[&Quantity::Volume].width),
    )
}

#[test]
fn each_way_to_tell_the_scale_has_its_coverage_and_width() {
    use Oracle::{Depth, Disparity, Height, Labels, Masks, Scale};
    let told = report(&[Masks, Disparity, Labels, Scale], None);
    let height = report(&[Masks, Disparity, Labels, Height], None);
    let untold = report(&[Masks, Disparity, Labels], None);
    let metric = report(&[Masks, Depth, Labels], None);
    let all = told.groups[0].1.items;
    for (report, name) in [
        (&height, "scale by an AR height"),
        (&untold, "scale by nothing told"),
        (&metric, "scale by metric depth"),
    ] {
        assert_eq!(group(report, name).0, all, "{name}\n{}", report.text());
    }
    assert!(group(&told, "scale by a plate told").0 > 0, "{}", told.text());
    // What is told narrows.
    let (_, wide) = group(&untold, "scale by nothing told");
    for (report, name) in [
        (&told, "scale by a plate told"),
        (&height, "scale by an AR height"),
    ] {
        let (_, width) = group(report, name);
        assert!(width < wide, "{name}: {width} {wide}");
    }
    // Bowls stand apart.
    let bowls = untold
        .groups
        .iter()
        .any(|(n, _)| n == "scale by nothing told, in bowls");
    assert_eq!(bowls, untold.outcomes.iter().any(|o| o.in_bowl));
}

#[test]
fn a_report_with_intervals_says_so_everywhere() {
    use Oracle::{Disparity, Labels, Masks, Scale};
    let bootstrap = Bootstrap { draws: 200, seed: 3 };
    let report = report(&[Masks, Disparity, Labels, Scale], Some(bootstrap));
    let errors = report.groups[0].1.volume().unwrap();
    let [low, high] = errors.interval.unwrap().mape;
    assert!(low < errors.mape && errors.mape < high);
    assert!(report.text().contains("95 % intervals, volume"));
    assert!(report.html().contains("95 % intervals of 200 draws"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["groups"][0][1]["volume"]["interval"]["mape"][0].as_f64(),
        Some(low)
    );
    assert!(json["outcomes"][0]["predicted_volume_cm3"]["p50"].is_f64());
}
