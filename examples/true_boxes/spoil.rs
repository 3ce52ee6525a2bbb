//! Mistakes of one kind in some of the boxes.

use serde_json::{Value, json};

/// How far a box is moved, as a share of its sides.
const MOVE: f64 = 0.05;

/// Spoils the boxes of each photo as `[SPOILED] [SHARE] [SEED]` say; without the first not at all.
pub(crate) fn from_args<'a>(
    mut args: impl Iterator<Item = String>,
    photos: impl Iterator<Item = (&'a str, &'a mut Vec<Value>)>,
) {
    let Some(kind) = args.next() else { return };
    let share: f64 = args.next().map_or(0.2, |a| a.parse().expect("SHARE is a number"));
    let seed: u64 = args.next().map_or(0, |a| a.parse().expect("SEED is a number"));
    for (id, items) in photos {
        let mut random = id.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |h, b| {
            h.wrapping_mul(131).wrapping_add(u64::from(b))
        }) | 1;
        let mut unit = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..8).for_each(|_| {
            unit();
        });
        let mut out = Vec::new();
        for item in items.drain(..) {
            let hit = unit() < share;
            match kind.as_str() {
                _ if !hit => out.push(item),
                "left-out" => {}
                "moved" => out.push(moved(item, [unit(), unit()])),
                "doubled" => out.extend([
                    item.clone(),
                    moved(item, [0.4 + 0.2 * unit(), 0.4 + 0.2 * unit()]),
                ]),
                other => panic!("{other}: left-out, moved or doubled"),
            }
        }
        *items = out;
    }
}

/// To one side or the other by [`MOVE`] of the sides where a draw is 0 or 1, not at all where it is a half.
fn moved(mut item: Value, draws: [f64; 2]) -> Value {
    let old: Vec<f64> = item["bbox_2d"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    if let [x0, y0, x1, y1] = old[..] {
        // A draw says only which way: each move is of the whole length.
        let by = |draw: f64, side: f64| match draw {
            d if (0.4..=0.6).contains(&d) => (d - 0.5) * MOVE * side,
            d => MOVE.copysign(d - 0.5) * side,
        };
        let (dx, dy) = (by(draws[0], x1 - x0), by(draws[1], y1 - y0));
        item["bbox_2d"] = json!([x0 + dx, y0 + dy, x1 + dx, y1 + dy].map(|v: f64| v.clamp(0.0, 1.0)));
    }
    item
}
