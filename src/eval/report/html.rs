//! The report as one page that loads nothing from elsewhere.

use std::fmt::Write;

use super::super::amounts::Quantity;
use super::super::figures::Errors;
use super::super::reliability::Reliability;
use super::super::score::Outcome;
use super::{Report, Summary};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;color:#222}\
    table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
    td:first-child,th:first-child{text-align:left}svg{background:#fafafa;border:1px solid #ddd;margin:.5rem}\
    text{font:11px system-ui,sans-serif;fill:#555}";
/// Side of a plot, in pixels.
const SIDE: f64 = 480.0;
const WORST_ITEMS: usize = 25;

impl Report {
    /// One page, nothing loaded from elsewhere.
    pub fn html(&self) -> String {
        let mut out = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Evaluation</title><style>{STYLE}</style>\
             <h1>Evaluation</h1><p>{}</p>",
            escape(&self.title)
        );
        out += "<p>Errors in percent of the true amount. Items that were missed or refused count as 100 %. \
                Coverage is the share of found items whose p10 to p90 holds the truth: 80 is honest. \
                Width is the median p90 / p10 of what was found.";
        if let Some(b) = self.bootstrap {
            let _ = write!(
                out,
                " In brackets: 95 % intervals of {} draws of photos, seed {}.",
                b.draws, b.seed
            );
        }
        out += "</p>";
        for quantity in Quantity::ALL.into_iter().filter(|q| self.has(*q)) {
            let _ = write!(out, "<h2>Items: {}</h2>", quantity.title());
            head(&mut out, quantity, true);
            for (name, s) in &self.groups {
                of_items(&mut out, name, s, quantity);
            }
            for (name, e) in self.baselines.iter().filter(|_| quantity == Quantity::Volume) {
                row(&mut out, &format!("baseline: {name}"), e, 0, Some([None, None]));
            }
            out += "</table>";
        }
        for quantity in Quantity::ALL.into_iter().filter(|q| self.has_of_photos(*q)) {
            let _ = write!(out, "<h2>Whole photos: {}</h2>", quantity.title());
            head(&mut out, quantity, false);
            for (name, s) in &self.photos {
                if let Some(e) = s.errors.get(&quantity) {
                    row(&mut out, name, e, s.refused, None);
                }
            }
            out += "</table>";
        }
        if !self.refusals.is_empty() {
            out += "<h2>Refused</h2><ul>";
            for (code, n) in &self.refusals {
                let _ = write!(out, "<li>{n} photos {}</li>", escape(code));
            }
            out += "</ul>";
        }
        self.names(&mut out);
        out += "<h2>True and estimated volume</h2>";
        out += &self.scatter();
        out += &self.sorted_errors();
        for quantity in [Quantity::Volume, Quantity::Mass]
            .into_iter()
            .filter(|q| self.has(*q))
        {
            let _ = write!(out, "<h2>By label: {}</h2>", quantity.title());
            head(&mut out, quantity, true);
            for (name, s) in &self.classes {
                of_items(&mut out, name, s, quantity);
            }
            out += "</table>";
        }
        self.worst(&mut out);
        out += "</html>\n";
        out
    }

    /// Stated confidence against how often it was right.
    fn names(&self, out: &mut String) {
        if self.names.iter().all(|(_, r)| r.named == 0) {
            return;
        }
        *out += "<h2>Names: stated confidence and how often right</h2><table><tr><th>names<th>named<th>ECE, %\
                 <th>0.8 and more<th>of them right<th>unknown<th>extra<th>extra with 0.8 and more</tr>";
        for (name, r) in &self.names {
            let _ = write!(
                out,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
                escape(name),
                r.named,
                r.ece.map_or("-".to_owned(), |e| format!("{e:.1}")),
                r.sure,
                r.sure_right,
                r.unknown,
                r.extra,
                r.extra_sure
            );
        }
        *out += "</table>";
        for (name, r) in self.names.iter().filter(|(_, r)| r.named > 0) {
            *out += &curve(name, r);
        }
    }

    fn worst(&self, out: &mut String) {
        *out += "<h2>Worst items</h2><table><tr><th>photo<th>label<th>true cm3<th>p10<th>p50<th>p90<th>in a bowl<th>flags</tr>";
        let mut worst: Vec<(&Outcome, f64)> = self
            .outcomes
            .iter()
            .filter_map(|o| {
                let (t, p) = (o.truth.volume_cm3?, o.predicted.volume_cm3?);
                Some((o, (p.p50 / t).ln().abs()))
            })
            .collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (o, _) in worst.iter().take(WORST_ITEMS) {
            if let (Some(t), Some(p)) = (o.truth.volume_cm3, o.predicted.volume_cm3) {
                let _ = write!(
                    out,
                    "<tr><td>{}<td>{}<td>{t:.0}<td>{:.0}<td>{:.0}<td>{:.0}<td>{}<td>{}</tr>",
                    escape(&o.sample),
                    escape(&o.label),
                    p.p10,
                    p.p50,
                    p.p90,
                    if o.in_bowl { "yes" } else { "no" },
                    o.flags.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ")
                );
            }
        }
        *out += "</table>";
    }

    /// Log-log scatter with intervals.
    fn scatter(&self) -> String {
        let (low, high) = (1.0_f64, 2000.0_f64);
        let at = |v: f64| (v.clamp(low, high) / low).ln() / (high / low).ln() * SIDE;
        let mut out = plot();
        for v in [1.0, 10.0, 100.0, 1000.0] {
            grid(&mut out, at(v), &format!("{v}"));
        }
        let _ = write!(out, "<path d=\"M0 {SIDE}L{SIDE} 0\" stroke=\"#999\"/>");
        for o in &self.outcomes {
            if let (Some(t), Some(p)) = (o.truth.volume_cm3, o.predicted.volume_cm3) {
                let (x, y, a, b) = (at(t), SIDE - at(p.p50), SIDE - at(p.p10), SIDE - at(p.p90));
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

    /// Absolute errors in order: which share of items is better than some error; in bowls apart.
    fn sorted_errors(&self) -> String {
        let mut out = plot();
        for v in [0.0, 25.0, 50.0, 75.0, 100.0] {
            grid(&mut out, v / 100.0 * SIDE, &format!("{v} %"));
        }
        for (colour, in_bowl) in [("#06c", false), ("#c60", true)] {
            let mut errors: Vec<f64> = self
                .outcomes
                .iter()
                .filter(|o| o.in_bowl == in_bowl)
                .filter_map(|o| {
                    let t = o.truth.volume_cm3?;
                    Some(100.0 * (o.predicted.volume_cm3.map_or(0.0, |p| p.p50) / t - 1.0).abs())
                })
                .collect();
            errors.sort_by(f64::total_cmp);
            let n = errors.len().max(1) as f64;
            let points = errors
                .iter()
                .enumerate()
                .map(|(i, e)| [e.min(100.0) / 100.0, (i + 1) as f64 / n]);
            line(&mut out, colour, std::iter::once([0.0, 0.0]).chain(points));
        }
        out + "<text x=\"200\" y=\"470\">share of items under an absolute error (orange: in bowls)</text></svg>"
    }
}

/// The reliability curve: a bin's share of right names over its mean confidence, as large as its number of names.
fn curve(name: &str, r: &Reliability) -> String {
    let mut out = plot();
    for v in [0.0, 0.25, 0.5, 0.75, 1.0] {
        grid(&mut out, v * SIDE, &format!("{v}"));
    }
    let _ = write!(out, "<path d=\"M0 {SIDE}L{SIDE} 0\" stroke=\"#999\"/>");
    let bins = r
        .bins
        .iter()
        .filter_map(|b| Some((b.n, [b.confidence?, b.right?])));
    line(&mut out, "#06c", bins.clone().map(|(_, point)| point));
    for (n, [confidence, right]) in bins {
        let radius = 2.0 + 12.0 * (n as f64 / r.named.max(1) as f64).sqrt();
        let _ = write!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" fill=\"#06c\" fill-opacity=\".5\"><title>{n} names</title></circle>",
            confidence * SIDE,
            SIDE - right * SIDE
        );
    }
    let _ = write!(
        out,
        "<text x=\"250\" y=\"470\">right over stated confidence: {}</text></svg>",
        escape(name)
    );
    out
}

fn plot() -> String {
    format!(
        "<svg width=\"{0}\" height=\"{0}\" viewBox=\"-30 -10 {0} {0}\">",
        SIDE + 60.0
    )
}

/// A line across and one up at the same place.
fn grid(out: &mut String, at: f64, text: &str) {
    let _ = write!(
        out,
        "<path d=\"M{at:.1} 0V{SIDE}M0 {0:.1}H{SIDE}\" stroke=\"#e3e3e3\"/><text x=\"{at:.1}\" y=\"{1}\" text-anchor=\"middle\">{text}</text><text x=\"-30\" y=\"{0:.1}\">{text}</text>",
        SIDE - at,
        SIDE + 14.0
    );
}

/// Through points in shares of the sides.
fn line(out: &mut String, colour: &str, points: impl Iterator<Item = [f64; 2]>) {
    let _ = write!(
        out,
        "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" d=\""
    );
    for (i, [x, y]) in points.enumerate() {
        let _ = write!(
            out,
            "{}{:.1} {:.1}",
            if i == 0 { "M" } else { "L" },
            x * SIDE,
            SIDE - y * SIDE
        );
    }
    *out += "\"/>";
}

fn head(out: &mut String, quantity: Quantity, names: bool) {
    let _ = write!(
        out,
        "<table><tr><th>group<th>n<th>missed<th>MAE, {}<th>MAPE<th>median<th>PMAE<th>bias<th>within 25<th>coverage<th>width{}</tr>",
        quantity.unit(),
        if names { "<th>label<th>IoU" } else { "" }
    );
}

/// A group's row of one quantity of items, if it is known of any.
fn of_items(out: &mut String, name: &str, s: &Summary, quantity: Quantity) {
    if let Some(e) = s.errors.get(&quantity) {
        row(
            out,
            name,
            e,
            s.missed + s.refused,
            Some([s.label_top1, s.mask_iou]),
        );
    }
}

fn row(out: &mut String, name: &str, e: &Errors, missed: usize, names: Option<[Option<f64>; 2]>) {
    let with = |value: f64, interval: Option<[f64; 2]>| match interval {
        Some([low, high]) => format!("{value:.1} [{low:.1}, {high:.1}]"),
        None => format!("{value:.1}"),
    };
    let i = e.interval;
    let _ = write!(
        out,
        "<tr><td>{}<td>{}<td>{missed}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.1}<td>{}<td>{:.2}",
        escape(name),
        e.n,
        with(e.mae, i.map(|i| i.mae)),
        with(e.mape, i.map(|i| i.mape)),
        with(e.median_ape, i.map(|i| i.median_ape)),
        with(e.pmae, i.map(|i| i.pmae)),
        with(e.bias, i.map(|i| i.bias)),
        e.within_25,
        with(e.coverage, i.map(|i| i.coverage)),
        e.width
    );
    for value in names.into_iter().flatten() {
        let _ = write!(out, "<td>{}", value.map_or("-".to_owned(), |v| format!("{v:.0}")));
    }
    *out += "</tr>";
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
