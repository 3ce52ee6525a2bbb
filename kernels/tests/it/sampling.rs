use candle_core::{Device, Tensor};
use dragunov_kernels::{AllowedRow, TokenRules, TokenSet, best_tokens, reference, top_tokens};

use super::argmax::{PENALTY, rows};
use super::support::tensor;

pub(crate) fn top(
    logits: &Tensor,
    seen: &[Vec<u32>],
    barred: &[Vec<u32>],
    k: usize,
    on: &Device,
) -> Vec<Vec<(u32, u32)>> {
    let lists = seen.iter().zip(barred);
    let rules: Vec<_> = lists.map(|(seen, barred)| TokenRules { seen, barred }).collect();
    let logits = logits.to_device(on).unwrap().copy().unwrap();
    let found = top_tokens(logits, &rules, PENALTY, k).unwrap();
    let bits = |row: Vec<(u32, f32)>| row.into_iter().map(|(id, l)| (id, l.to_bits())).collect();
    found.into_iter().map(bits).collect()
}

/// Sets of tokens for as many rows: all, none, one, every third, one half.
pub(crate) fn sets(vocabulary: usize, rows: usize) -> Vec<TokenSet> {
    let all = 0..vocabulary as u32;
    let set = |row: usize| match row % 5 {
        0 => TokenSet::new(vocabulary, all.clone()),
        1 => TokenSet::new(vocabulary, [vocabulary as u32]),
        2 => TokenSet::new(vocabulary, [vocabulary as u32 / 2]),
        3 => TokenSet::new(vocabulary, all.clone().step_by(3)),
        _ => TokenSet::new(vocabulary, all.clone().skip(vocabulary / 2)),
    };
    (0..rows).map(set).collect()
}

/// Of each row by each set.
pub(crate) fn best(logits: &Tensor, sets: &[TokenSet]) -> Vec<Option<(u32, f64)>> {
    let rows: Vec<_> = (0..logits.dim(0).unwrap())
        .flat_map(|row| sets.iter().map(move |allowed| (row, allowed)))
        .map(|(row, allowed)| AllowedRow { logits, row, allowed })
        .collect();
    best_tokens(&rows).unwrap()
}

#[test]
fn the_likeliest_are_those_that_few_are_likelier_than() {
    for (vocabulary, k) in [(1, 1), (31, 4), (1000, 7), (1000, 2000)] {
        let (logits, seen, barred) = rows(vocabulary);
        let nothing = vec![Vec::new(); seen.len()];
        for (row, found) in top(&logits, &nothing, &nothing, k, &Device::Cpu)
            .into_iter()
            .enumerate()
        {
            let logits = logits.get(row).unwrap().to_vec1::<f32>().unwrap();
            if logits.iter().any(|v| v.is_nan()) {
                continue;
            }
            let wanted = (0..vocabulary).filter(|token| reference::larger_than(&logits, *token) < k);
            assert_eq!(found.len(), wanted.count(), "row {row} of {vocabulary}");
            for pair in found.windows(2) {
                let [a, b] = [pair[0].0, pair[1].0].map(|id| logits[id as usize]);
                assert!(a > b || a == b && (a.to_bits() != b.to_bits() || pair[0].0 < pair[1].0));
            }
            for (id, bits) in found {
                assert_eq!(bits, logits[id as usize].to_bits());
                assert!(reference::larger_than(&logits, id as usize) < k);
            }
        }
        let found = top(&logits, &seen, &barred, 1, &Device::Cpu);
        let likeliest = super::argmax::found(&logits, &seen, &barred, &Device::Cpu);
        for (row, (found, likeliest)) in found.iter().zip(likeliest).enumerate() {
            let ids: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
            assert!(
                row == 6 || ids.contains(&likeliest),
                "row {row} of {vocabulary}: {ids:?}"
            );
        }
    }
    assert!(top_tokens(tensor(&[1., 2.], (1, 2)), &[], 1., 1).is_err());
}

#[test]
fn the_best_of_a_set_and_its_share() {
    for vocabulary in [1, 31, 1000] {
        let (logits, ..) = rows(vocabulary);
        let n = logits.dim(0).unwrap();
        let sets = sets(vocabulary, 5);
        let mut found = best(&logits, &sets).into_iter();
        for row in logits.to_vec2::<f32>().unwrap() {
            for which in 0..5 {
                let member = |token: usize| match which {
                    0 => true,
                    1 => false,
                    2 => token == vocabulary / 2,
                    3 => token.is_multiple_of(3),
                    _ => token >= vocabulary / 2,
                };
                let own: Vec<usize> = (0..vocabulary)
                    .filter(|t| member(*t) && row[*t] > f32::NEG_INFINITY)
                    .collect();
                let found = found.next().unwrap();
                let Some((token, share)) = found else {
                    assert!(own.is_empty());
                    continue;
                };
                let token = token as usize;
                assert_eq!(
                    Some(&token),
                    own.iter().find(|t| own.iter().all(|o| row[*o] <= row[**t]))
                );
                let e = |t: &usize| f64::from(row[*t]).exp();
                let wanted = e(&token) / own.iter().map(e).sum::<f64>();
                assert!(
                    (share.exp() - wanted).abs() < 1e-12,
                    "{} for {wanted}",
                    share.exp()
                );
            }
        }
        assert!(found.next().is_none());
        assert_eq!(n, 9);
    }
    let logits = tensor(&[1., 2.], (1, 2));
    let (two, three) = (TokenSet::new(2, [1]), TokenSet::new(3, [1]));
    let of = |row, allowed| {
        best_tokens(&[AllowedRow {
            logits: &logits,
            row,
            allowed,
        }])
    };
    assert_eq!(of(0, &two).unwrap(), [Some((1, 0.))]);
    assert!(of(1, &two).is_err());
    assert!(of(0, &three).is_err());
    assert!(best_tokens(&[]).unwrap().is_empty());
}
