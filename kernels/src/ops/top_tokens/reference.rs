/// How many of the logits are larger than that of `token`.
pub fn larger_than(logits: &[f32], token: usize) -> usize {
    logits.iter().filter(|v| **v > logits[token]).count()
}
