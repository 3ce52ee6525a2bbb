//! The figures as text, JSON and a self-contained HTML page.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::score::{Errors, Fate, Outcome, Summary, baselines, summary};

/// Everything an evaluation says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How it was run, in words.
    pub title: String,
    pub groups: Vec<(String, Summary)>,
    pub classes: BTreeMap<String, Summary>,
    pub baselines: BTreeMap<&'static str, Errors>,
    /// Photos by what they were refused with and what the manifest expects of them.
    pub refusals: BTreeMap<String, usize>,
    pub outcomes: Vec<Outcome>,
}

impl Report {
    pub fn new(title: String, outcomes: Vec<Outcome>) -> Self {
        let part = |f: &dyn Fn(&Outcome) -> bool| summary(outcomes.iter().filter(|o| f(o)));
        let mut groups = vec![
            ("all".to_owned(), part(&|_| true)),
            ("off bowls".to_owned(), part(&|o| !o.in_bowl)),
            ("in bowls".to_owned(), part(&|o| o.in_bowl)),
            (
                "off bowls, tilted 12 degrees or more".to_owned(),
                part(&|o| !o.in_bowl && o.near_nadir == Some(false)),
            ),
            (
                "off bowls, near nadir".to_owned(),
                part(&|o| !o.in_bowl && o.near_nadir == Some(true)),
            ),
        ];
        groups.retain(|(name, s)| name == "all" || s.items > 0);
        let mut labels: Vec<&String> = outcomes
            .iter()
            .filter(|o| o.fate != Fate::Extra)
            .map(|o| &o.label)
            .collect();
        labels.sort();
        labels.dedup();
        let classes = labels
            .into_iter()
            .map(|label| (label.clone(), part(&|o| &o.label == label)))
            .collect();
        let refusals = refusals(&outcomes);
        Self {
            title,
            groups,
            classes,
            baselines: baselines(&outcomes),
            refusals,
            outcomes,
        }
    }

    /// Plain text for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n\n", self.title);
        let _ = writeln!(
            out,
            "{:<38}{:>6}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}",
            "volume, %", "items", "missed", "MAPE", "median", "PMAE", "bias", "<=25", "p10-90", "label/IoU"
        );
        let mut line = |name: &str, s: &Summary| {
            let Some(e) = &s.volume else { return };
            let extra = match (s.label_top1, s.mask_iou) {
                (Some(l), Some(i)) => format!("{l:.0}/{i:.0}"),
                (Some(l), None) => format!("{l:.0}/-"),
                _ => "-".to_owned(),
            };
            let _ = writeln!(
                out,
                "{:<38}{:>6}{:>7}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>9}",
                name,
                s.items,
                s.missed + s.refused,
                e.mape,
                e.median_ape,
                e.pmae,
                e.bias,
                e.within_25,
                e.coverage,
                extra
            );
        };
        for (name, s) in &self.groups {
            line(name, s);
        }
        for (name, s) in &self.classes {
            line(&format!("  {name}"), s);
        }
        for (name, e) in &self.baselines {
            let _ = writeln!(
                out,
                "{:<51}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}",
                format!("baseline: {name}"),
                e.mape,
                e.median_ape,
                e.pmae,
                e.bias,
                e.within_25
            );
        }
        let mass = |out: &mut String, name: &str, s: &Summary| {
            if let Some(e) = &s.mass {
                let _ = writeln!(
                    out,
                    "{:<38}{:>6}{:>7}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>8.1}",
                    name,
                    e.n,
                    s.missed + s.refused,
                    e.mape,
                    e.median_ape,
                    e.pmae,
                    e.bias,
                    e.within_25,
                    e.coverage
                );
            }
        };
        if self.groups.iter().any(|(_, s)| s.mass.is_some()) {
            let _ = writeln!(
                out,
                "\n{:<38}{:>6}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}",
                "mass, %", "items", "missed", "MAPE", "median", "PMAE", "bias", "<=25", "p10-90"
            );
            for (name, s) in &self.groups {
                mass(&mut out, name, s);
            }
            for (name, s) in &self.classes {
                mass(&mut out, &format!("  {name}"), s);
            }
        }
        let extra = self.groups.first().map_or(0, |(_, s)| s.extra);
        if extra > 0 {
            let _ = writeln!(out, "{extra} items were answered where no true item is");
        }
        for (code, n) in &self.refusals {
            let _ = writeln!(out, "{n} photos {code}");
        }
        out
    }

    /// One page, nothing loaded from elsewhere.
    pub fn html(&self) -> String {
        let mut out = String::from(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Evaluation</title><style>\
             body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;color:#222}\
             table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
             td:first-child,th:first-child{text-align:left}svg{background:#fafafa;border:1px solid #ddd;margin:.5rem}\
             text{font:11px system-ui,sans-serif;fill:#555}</style>",
        );
        let _ = write!(out, "<h1>Evaluation</h1><p>{}</p>", escape(&self.title));
        out += "<p>All errors in percent of the true volume. Items that were missed or refused count as 100 %. \
                Coverage is the share of found items whose p10 to p90 holds the truth: 80 is honest.</p>";
        let head = "<table><tr><th>items<th>n<th>missed<th>MAPE<th>median<th>PMAE<th>bias<th>within 25<th>coverage<th>label<th>IoU</tr>";
        out += head;
        for (name, s) in &self.groups {
            row(&mut out, name, s);
        }
        for (name, e) in &self.baselines {
            let _ = write!(
                out,
                "<tr><td>baseline: {name}<td>{}<td>0<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>-<td>-<td>-</tr>",
                e.n, e.mape, e.median_ape, e.pmae, e.bias, e.within_25
            );
        }
        out += "</table>";
        if !self.refusals.is_empty() {
            out += "<h2>Refused</h2><ul>";
            for (code, n) in &self.refusals {
                let _ = write!(out, "<li>{n} photos {}</li>", escape(code));
            }
            out += "</ul>";
        }
        out += "<h2>True and estimated volume</h2>";
        out += &self.scatter();
        out += &self.sorted_errors();
        out += "<h2>By label</h2>";
        out += head;
        for (name, s) in &self.classes {
            row(&mut out, name, s);
        }
        out += "</table><h2>Worst items</h2><table><tr><th>photo<th>label<th>true cm3<th>p10<th>p50<th>p90<th>flags</tr>";
        let mut worst: Vec<(&Outcome, f64)> = self
            .outcomes
            .iter()
            .filter_map(|o| {
                let (t, p) = (o.volume_cm3?, o.predicted_volume_cm3?);
                Some((o, (p.p50 / t).ln().abs()))
            })
            .collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (o, _) in worst.iter().take(25) {
            if let (Some(t), Some(p)) = (o.volume_cm3, o.predicted_volume_cm3) {
                let _ = write!(
                    out,
                    "<tr><td>{}<td>{}<td>{t:.0}<td>{:.0}<td>{:.0}<td>{:.0}<td>{}</tr>",
                    escape(&o.sample),
                    escape(&o.label),
                    p.p10,
                    p.p50,
                    p.p90,
                    o.flags.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ")
                );
            }
        }
        out += "</table></html>\n";
        out
    }

    /// Log-log scatter with intervals.
    fn scatter(&self) -> String {
        const SIZE: f64 = 480.0;
        let (low, high) = (1.0_f64, 2000.0_f64);
        let at = |v: f64| (v.clamp(low, high) / low).ln() / (high / low).ln() * SIZE;
        let mut out = format!(
            "<svg width=\"{0}\" height=\"{0}\" viewBox=\"-30 -10 {1} {1}\">",
            SIZE + 60.0,
            SIZE + 60.0
        );
        for v in [1.0, 10.0, 100.0, 1000.0] {
            let p = at(v);
            let y = SIZE - p;
            let _ = write!(
                out,
                "<path d=\"M{p:.1} 0V{SIZE}M0 {y:.1}H{SIZE}\" stroke=\"#e3e3e3\"/><text x=\"{p:.1}\" y=\"{}\" text-anchor=\"middle\">{v}</text><text x=\"-28\" y=\"{y:.1}\">{v}</text>",
                SIZE + 14.0
            );
        }
        let _ = write!(out, "<path d=\"M0 {SIZE}L{SIZE} 0\" stroke=\"#999\"/>");
        for o in &self.outcomes {
            if let (Some(t), Some(p)) = (o.volume_cm3, o.predicted_volume_cm3) {
                let (x, y, a, b) = (at(t), SIZE - at(p.p50), SIZE - at(p.p10), SIZE - at(p.p90));
                let colour = if o.in_bowl { "#c60" } else { "#06c" };
                let _ = write!(
                    out,
                    "<path d=\"M{x:.1} {a:.1}V{b:.1}\" stroke=\"{colour}\" stroke-opacity=\".25\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\" fill-opacity=\".7\"><title>{} {}: {t:.0} cm3, {:.0}</title></circle>",
                    escape(&o.sample),
                    escape(&o.label),
                    p.p50
                );
            }
        }
        out + "<text x=\"330\" y=\"470\">true, cm3 (orange: in bowls)</text></svg>"
    }

    /// Absolute errors in order: which share of items is better than some error.
    fn sorted_errors(&self) -> String {
        const SIZE: f64 = 480.0;
        let mut errors: Vec<f64> = self
            .outcomes
            .iter()
            .filter_map(|o| {
                let t = o.volume_cm3?;
                Some(100.0 * (o.predicted_volume_cm3.map_or(0.0, |p| p.p50) / t - 1.0).abs())
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        let mut out = format!(
            "<svg width=\"{0}\" height=\"{0}\" viewBox=\"-30 -10 {0} {0}\">",
            SIZE + 60.0
        );
        for v in [0.0, 25.0, 50.0, 75.0, 100.0] {
            let p = v / 100.0 * SIZE;
            let _ = write!(
                out,
                "<path d=\"M{p} 0V{SIZE}M0 {0}H{SIZE}\" stroke=\"#e3e3e3\"/><text x=\"{p}\" y=\"{1}\" text-anchor=\"middle\">{v} %</text><text x=\"-30\" y=\"{0}\">{v}</text>",
                SIZE - p,
                SIZE + 14.0
            );
        }
        let n = errors.len().max(1) as f64;
        out += "<path fill=\"none\" stroke=\"#06c\" stroke-width=\"2\" d=\"M0 480";
        for (i, e) in errors.iter().enumerate() {
            let _ = write!(
                out,
                "L{:.1} {:.1}",
                e.min(100.0) / 100.0 * SIZE,
                SIZE - (i + 1) as f64 / n * SIZE
            );
        }
        out + "\"/><text x=\"250\" y=\"470\">share of items under an absolute error</text></svg>"
    }
}

fn refusals(outcomes: &[Outcome]) -> BTreeMap<String, usize> {
    let mut photos: BTreeMap<&str, String> = BTreeMap::new();
    for o in outcomes {
        let words = match (&o.fate, &o.expected) {
            (Fate::RightlyRefused(code), _) => format!("refused with {code}, as expected"),
            (Fate::Refused(code), Some(other)) => format!("refused with {code}, expected {other}"),
            (Fate::Refused(code), None) => format!("refused with {code}"),
            (_, Some(code)) => format!("answered, expected {code}"),
            (_, None) => continue,
        };
        photos.insert(&o.sample, words);
    }
    let mut out = BTreeMap::new();
    for words in photos.into_values() {
        *out.entry(words).or_insert(0) += 1;
    }
    out
}

fn row(out: &mut String, name: &str, s: &Summary) {
    let Some(e) = &s.volume else { return };
    let show = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.0}"));
    let _ = write!(
        out,
        "<tr><td>{}<td>{}<td>{}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{}<td>{}</tr>",
        escape(name),
        s.items,
        s.missed + s.refused,
        e.mape,
        e.median_ape,
        e.pmae,
        e.bias,
        e.within_25,
        e.coverage,
        show(s.label_top1),
        show(s.mask_iou)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
