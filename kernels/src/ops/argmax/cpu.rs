use super::TokenRules;

/// Changes a row by what is held against its tokens.
pub(in crate::ops) fn penalise(row: &mut [f32], rules: &TokenRules<'_>, penalty: f32) {
    if penalty != 1. {
        for &token in rules.seen {
            if let Some(l) = row.get_mut(token as usize) {
                *l = if *l < 0. { *l * penalty } else { *l / penalty };
            }
        }
    }
    for &token in rules.barred {
        if let Some(l) = row.get_mut(token as usize) {
            *l = f32::NEG_INFINITY;
        }
    }
}

pub(super) fn argmax(mut row: Vec<f32>, rules: &TokenRules<'_>, penalty: f32) -> u32 {
    penalise(&mut row, rules, penalty);
    let mut best = (0, f32::NEG_INFINITY);
    for (i, &v) in row.iter().enumerate() {
        if v > best.1 {
            best = (i as u32, v);
        }
    }
    best.0
}
