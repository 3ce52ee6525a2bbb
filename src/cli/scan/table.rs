//! The scan's answer for a person at a terminal.

use std::fmt::Write;
use std::path::Path;

use crate::contract::result::{Item, Totals};
use crate::contract::{Estimated, ScanResult};

/// Items as rows, totals, then what to know of the numbers. Ends with a newline.
pub(super) fn render(path: &Path, result: &ScanResult) -> String {
    let mut rows = vec![header()];
    rows.extend(result.items.iter().map(row));
    rows.push(total(&result.totals));
    let mut out = String::new();
    let _ = writeln!(out, "{}  {}", path.display(), camera(result));
    out.push_str(&align(&rows));
    for item in &result.items {
        for question in &item.questions {
            let options: Vec<_> = question
                .options
                .iter()
                .map(|o| format!("{} {:+.0} kcal", o.label, o.kcal))
                .collect();
            let _ = writeln!(
                out,
                "  ? {}: {} ({})",
                item.label,
                question.text,
                options.join(", ")
            );
        }
    }
    for warning in &result.warnings {
        let _ = writeln!(out, "  ! {}", warning.message);
    }
    if let Some(hint) = &result.reshoot_hint {
        let _ = writeln!(out, "  > {hint}");
    }
    let ms = result.timings_ms.total;
    let _ = writeln!(
        out,
        "  {} in {:.2} s; 10-90 % is the interval of each estimate",
        result.models.set,
        ms / 1000.0
    );
    out
}

fn camera(result: &ScanResult) -> String {
    let c = &result.camera;
    let h = &result.scale.camera_height_cm;
    format!(
        "{} x {}, tilt {:.0}° ({}), view {:.0}° ({}), {:.0} cm above the table ({})",
        result.image.width,
        result.image.height,
        c.tilt_deg,
        c.tilt_source
            .iter()
            .map(|s| s.as_str())
            .collect::<Vec<_>>()
            .join("+"),
        c.fov_long_deg,
        c.fov_source,
        h.p50,
        result.scale.source
    )
}

fn header() -> Vec<String> {
    [
        "item", "sure", "g", "10-90 %", "kcal", "10-90 %", "cm³", "g/cm³", "protein", "carbs", "fat",
    ]
    .map(String::from)
    .to_vec()
}

fn range(e: &Estimated) -> String {
    format!("{:.0}-{:.0}", e.p10, e.p90)
}

fn row(item: &Item) -> Vec<String> {
    let mut name = item.label.clone();
    let mut notes: Vec<String> = item.flags.iter().map(ToString::to_string).collect();
    if item.pieces > 1 {
        notes.push(format!("{} pieces", item.pieces));
    }
    if !notes.is_empty() {
        let _ = write!(name, " [{}]", notes.join(", "));
    }
    vec![
        name,
        format!("{:.0} %", 100.0 * item.confidence),
        format!("{:.0}", item.mass_g.p50),
        range(&item.mass_g),
        format!("{:.0}", item.kcal.p50),
        range(&item.kcal),
        format!("{:.0}", item.volume_cm3.p50),
        format!("{:.2}", item.density_g_cm3.p50),
        format!("{:.1}", item.protein_g.p50),
        format!("{:.1}", item.carbs_g.p50),
        format!("{:.1}", item.fat_g.p50),
    ]
}

fn total(t: &Totals) -> Vec<String> {
    vec![
        "total".into(),
        String::new(),
        format!("{:.0}", t.mass_g.p50),
        range(&t.mass_g),
        format!("{:.0}", t.kcal.p50),
        range(&t.kcal),
        String::new(),
        String::new(),
        format!("{:.1}", t.protein_g.p50),
        format!("{:.1}", t.carbs_g.p50),
        format!("{:.1}", t.fat_g.p50),
    ]
}

/// First column to the left, numbers to the right, a rule under the header and over the last row.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let rule = format!(
        "  {}\n",
        "─".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1))
    );
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        if i == 1 || i + 1 == rows.len() {
            out.push_str(&rule);
        }
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (cell, &w))| {
                if c == 0 {
                    format!("{cell:<w$}")
                } else {
                    format!("{cell:>w$}")
                }
            })
            .collect();
        let _ = writeln!(out, "  {}", cells.join("  ").trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["item".into(), "g".into()],
            vec!["crème brûlée".into(), "1".into()],
            vec!["total".into(), "1234".into()],
        ];
        let text = align(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(
            lines
                .iter()
                .all(|l| l.chars().count() == lines[0].chars().count()),
            "{text}"
        );
    }
}
