//! The report for a terminal.

use std::fmt::Write;

use super::super::amounts::Quantity;
use super::super::figures::{Errors, Intervals};
use super::super::reliability::{Reliability, SURE};
use super::Report;

/// Width of the first column.
const NAME: usize = 42;

impl Report {
    /// Plain text for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.title);
        for quantity in Quantity::ALL {
            if quantity == Quantity::Volume || self.has(quantity) {
                self.items_table(&mut out, quantity);
            }
        }
        self.photos_tables(&mut out);
        self.names_tables(&mut out);
        let extra = self.groups.first().map_or(0, |(_, s)| s.extra);
        if extra > 0 {
            let _ = writeln!(out, "\n{extra} items were answered where no true item is");
        }
        for (code, n) in &self.refusals {
            let _ = writeln!(out, "{n} photos {code}");
        }
        out
    }

    fn items_table(&self, out: &mut String, quantity: Quantity) {
        let volume = quantity == Quantity::Volume;
        head(
            out,
            &format!("items, {}, %", quantity.title()),
            quantity,
            if volume { "label/IoU" } else { "" },
        );
        let rows = self.groups.iter().map(|(name, s)| (name.clone(), s));
        let classes = self.classes.iter().map(|(name, s)| (format!("  {name}"), s));
        for (name, s) in rows.chain(classes.filter(|_| quantity <= Quantity::Mass)) {
            let Some(errors) = s.errors.get(&quantity) else {
                continue;
            };
            let extra = match (s.label_top1, s.mask_iou) {
                _ if !volume => String::new(),
                (Some(l), Some(i)) => format!("{l:.0}/{i:.0}"),
                (Some(l), None) => format!("{l:.0}/-"),
                _ => "-".to_owned(),
            };
            row(out, &name, errors, s.missed + s.refused, &extra);
        }
        for (name, errors) in self.baselines.iter().filter(|_| volume) {
            let _ = writeln!(
                out,
                "{:<w$}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}",
                format!("baseline: {name}"),
                errors.mae,
                errors.mape,
                errors.median_ape,
                errors.pmae,
                errors.bias,
                errors.within_25,
                w = NAME + 13,
            );
        }
        let rows = self.groups.iter();
        intervals(
            out,
            quantity,
            rows.filter_map(|(name, s)| Some((name.as_str(), s.errors.get(&quantity)?))),
        );
    }

    fn photos_tables(&self, out: &mut String) {
        for quantity in Quantity::ALL.into_iter().filter(|q| self.has_of_photos(*q)) {
            head(
                out,
                &format!("whole photos, {}, %", quantity.title()),
                quantity,
                "",
            );
            for (name, s) in &self.photos {
                if let Some(errors) = s.errors.get(&quantity) {
                    row(out, name, errors, s.refused, "");
                }
            }
            let rows = self.photos.iter();
            intervals(
                out,
                quantity,
                rows.filter_map(|(name, s)| Some((name.as_str(), s.errors.get(&quantity)?))),
            );
        }
        let Some((_, all)) = self.photos.first() else {
            return;
        };
        let _ = write!(
            out,
            "\n{} photos: {} answered with {} items",
            all.photos, all.answered, all.items
        );
        if let (Some(median), Some(largest)) = (all.median_mass_g, all.largest_mass_g) {
            let _ = write!(out, "; {median:.0} g in the median, {largest:.0} g at most");
        }
        out.push('\n');
    }

    fn names_tables(&self, out: &mut String) {
        if self.names.iter().all(|(_, r)| r.is_empty()) {
            return;
        }
        let sure = format!("{SURE:.1} up");
        let _ = writeln!(
            out,
            "\n{:<NAME$}{:>7}{:>8}{:>8}{:>8}{:>9}{:>8}{:>9}",
            "names: stated confidence and right ones",
            "named",
            "ECE, %",
            sure,
            "right",
            "unknown",
            "extra",
            "of them"
        );
        for (name, r) in &self.names {
            let ece = r.ece.map_or("-".to_owned(), |e| format!("{e:.1}"));
            let right = format!("{}", r.sure_right);
            let _ = writeln!(
                out,
                "{name:<NAME$}{:>7}{ece:>8}{:>8}{right:>8}{:>9}{:>8}{:>9}",
                r.named, r.sure, r.unknown, r.extra, r.extra_sure
            );
        }
        for (name, r) in self.names.iter().filter(|(_, r)| r.named > 0) {
            curve(out, name, r);
        }
    }
}

fn head(out: &mut String, what: &str, quantity: Quantity, last: &str) {
    let mae = format!("MAE {}", quantity.unit());
    let _ = writeln!(
        out,
        "\n{what:<NAME$}{:>6}{:>7}{mae:>10}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}{last:>11}",
        "n", "missed", "MAPE", "median", "PMAE", "bias", "<=25", "p10-90", "p90/p10"
    );
}

fn row(out: &mut String, name: &str, e: &Errors, missed: usize, last: &str) {
    let _ = writeln!(
        out,
        "{name:<NAME$}{:>6}{missed:>7}{:>10.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>9.2}{last:>11}",
        e.n, e.mae, e.mape, e.median_ape, e.pmae, e.bias, e.within_25, e.coverage, e.width
    );
}

/// The 95 % intervals, where they were asked for.
fn intervals<'a>(out: &mut String, quantity: Quantity, rows: impl Iterator<Item = (&'a str, &'a Errors)>) {
    let rows: Vec<(&str, &Intervals)> = rows
        .filter_map(|(name, e)| Some((name, e.interval.as_ref()?)))
        .collect();
    if rows.is_empty() {
        return;
    }
    let what = format!("  95 % intervals, {}", quantity.title());
    let _ = writeln!(
        out,
        "{what:<NAME$}{:>15}{:>15}{:>15}{:>15}{:>15}",
        "MAPE", "median", "PMAE", "bias", "p10-90"
    );
    for (name, i) in rows {
        let name = format!("  {name}");
        let of = |[low, high]: [f64; 2]| format!("{low:.1}..{high:.1}");
        let _ = writeln!(
            out,
            "{name:<NAME$}{:>15}{:>15}{:>15}{:>15}{:>15}",
            of(i.mape),
            of(i.median_ape),
            of(i.pmae),
            of(i.bias),
            of(i.coverage)
        );
    }
}

/// One line a bin that holds names.
fn curve(out: &mut String, name: &str, r: &Reliability) {
    let _ = writeln!(out, "  {name}: stated, names, mean stated %, right %");
    for bin in r.bins.iter().filter(|b| b.n > 0) {
        let share = |v: Option<f64>| v.map_or(0.0, |v| 100.0 * v);
        let _ = writeln!(
            out,
            "    {:.1} to {:.1}{:>7}{:>8.1}{:>8.1}",
            bin.low,
            bin.high,
            bin.n,
            share(bin.confidence),
            share(bin.right)
        );
    }
}
