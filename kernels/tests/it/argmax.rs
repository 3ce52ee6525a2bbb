use candle_core::{Device, Tensor};
use dragunov_kernels::{TokenRules, argmax_tokens, reference};

use super::support::{tensor, values};

pub(crate) const PENALTY: f32 = 1.5;

/// Rows of logits, with what is held against their tokens; and, at the end, rows of equals and of no number.
pub(crate) fn rows(vocabulary: usize) -> (Tensor, Vec<Vec<u32>>, Vec<Vec<u32>>) {
    let n = 9;
    let mut data = values(n * vocabulary, vocabulary as u64);
    let last = vocabulary as u32 - 1;
    let (equals, rest) = data[3 * vocabulary..].split_at_mut(vocabulary);
    equals.fill(0.25);
    // Negative ones alone, the two zeros, infinities and no number, all -inf, subnormal ones.
    rest[..vocabulary].iter_mut().for_each(|v| *v = -v.abs() - 0.1);
    for (i, v) in rest[vocabulary..2 * vocabulary].iter_mut().enumerate() {
        *v = if i % 2 == 0 { -0. } else { 0. };
    }
    rest[2 * vocabulary..3 * vocabulary].fill(f32::NAN);
    rest[2 * vocabulary + vocabulary / 2] = -7.;
    rest[3 * vocabulary..4 * vocabulary].fill(f32::NEG_INFINITY);
    rest[4 * vocabulary..].fill(1e-40);
    let largest = |row: usize| {
        let row = &data[row * vocabulary..][..vocabulary];
        (0..vocabulary as u32)
            .max_by(|a, b| row[*a as usize].total_cmp(&row[*b as usize]))
            .unwrap()
    };
    let mut seen = vec![Vec::new(); n];
    let mut barred = vec![Vec::new(); n];
    // The likeliest was seen; it is barred; both of some.
    seen[0] = vec![largest(0), u32::MAX];
    barred[1] = vec![largest(1), last + 1];
    seen[2] = (0..vocabulary as u32).step_by(2).collect();
    barred[2] = vec![largest(2)];
    barred[3] = vec![0, 0];
    seen[4] = vec![largest(4)];
    (tensor(&data, (n, vocabulary)), seen, barred)
}

pub(crate) fn found(logits: &Tensor, seen: &[Vec<u32>], barred: &[Vec<u32>], on: &Device) -> Vec<u32> {
    let lists = seen.iter().zip(barred);
    let rules: Vec<_> = lists.map(|(seen, barred)| TokenRules { seen, barred }).collect();
    argmax_tokens(logits.to_device(on).unwrap().copy().unwrap(), &rules, PENALTY).unwrap()
}

#[test]
fn the_likeliest_token_is_that_of_f64_and_the_first_of_equals() {
    for vocabulary in [1, 2, 31, 1000] {
        let (logits, seen, barred) = rows(vocabulary);
        let found = found(&logits, &seen, &barred, &Device::Cpu);
        for (row, logits) in logits.to_vec2::<f32>().unwrap().iter().enumerate() {
            let finite: Vec<f32> = logits
                .iter()
                .map(|v| if v.is_nan() { f32::NEG_INFINITY } else { *v })
                .collect();
            let wanted = reference::argmax_tokens(&finite, &seen[row], &barred[row], f64::from(PENALTY));
            assert_eq!(found[row], wanted.unwrap_or(0), "row {row} of {vocabulary}");
        }
        assert_eq!(found[3], u32::from(vocabulary > 1));
        assert_eq!(found[5..], [0, vocabulary as u32 / 2, 0, 0]);
    }
    let one = tensor(&[1., 2.], (1, 2));
    assert!(argmax_tokens(one, &[], 1.).is_err());
}
