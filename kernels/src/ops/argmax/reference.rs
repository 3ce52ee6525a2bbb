//! Plain loops in f64.

/// Index of the largest of `logits` after a penalty of those `seen`; tokens that are `barred` are passed over.
pub fn argmax_tokens(logits: &[f32], seen: &[u32], barred: &[u32], penalty: f64) -> Option<u32> {
    let mut best = None;
    for (token, &logit) in (0u32..).zip(logits) {
        let logit = match f64::from(logit) {
            l if !seen.contains(&token) => l,
            l if l < 0. => l * penalty,
            l => l / penalty,
        };
        if !barred.contains(&token) && best.is_none_or(|(_, most)| logit > most) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}
