//! What the device answers in place of the tensors that it read: the same as the CPU finds in them, to the bit.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{
    MaskAt, MaskFacts, MaskRules, Picture, byte_pixels, draw_masks, float_pixels, mask_facts,
};

use super::argmax;
use super::masks::{SIZES, THRESHOLDS, drawing};
use super::on_device::device;
use super::pictures;
use super::sampling;
use super::support::{tensor, values};

#[test]
fn facts_of_masks_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    let side = 37;
    let mut data = values(5 * side * side, 1);
    // One without a cell, one with a single one.
    data[side * side..2 * side * side].fill(-3.);
    data[2 * side * side..3 * side * side].fill(-3.);
    data[2 * side * side + 7 * side + 5] = 0.5;
    let logits = tensor(&data, (5, side, side));
    let rules = MaskRules {
        columns: 3..36,
        rows: 0..29,
        threshold: 0.9,
        high: 0.95,
        low: -0.2,
    };
    let which = [4, 0, 1, 2];
    let on_cpu = mask_facts(&logits, &which, &rules).unwrap();
    let on_device = logits.to_device(&device).unwrap();
    assert_eq!(mask_facts(&on_device, &which, &rules).unwrap(), on_cpu);
    assert_eq!(
        on_cpu[2],
        MaskFacts {
            above_high: 0,
            above_low: 0,
            bounds: None
        }
    );
    let low = MaskRules {
        threshold: 0.,
        ..rules.clone()
    };
    assert_eq!(
        mask_facts(&on_device, &[2], &low).unwrap()[0].bounds,
        Some([5, 5, 7, 7])
    );
    assert!(mask_facts(&on_device, &[5], &rules).is_err());
    assert!(mask_facts(&on_device, &[0], &MaskRules { rows: 0..38, ..rules }).is_err());
}

#[test]
fn masks_are_drawn_as_on_the_cpu() {
    let Some(device) = device() else { return };
    let mut words = 0;
    for (i, (size, side)) in SIZES.into_iter().enumerate() {
        let (grid, logits) = drawing(size, side, i as u64);
        for dtype in [DType::F32, DType::BF16] {
            let logits = tensor(&logits, (4, side, side)).to_dtype(dtype).unwrap();
            // Of two tensors, one of which begins within its memory, and not in their order.
            let of = |on: &Device| {
                let all = logits.to_device(on).unwrap();
                let later = all.narrow(0, 1, 3).unwrap();
                let at = |logits: &Tensor, index| MaskAt {
                    logits: logits.clone(),
                    index,
                };
                let masks = [
                    at(&later, 2),
                    at(&all, 0),
                    at(&later, 0),
                    at(&later, 1),
                    at(&all, 1),
                ];
                draw_masks(&masks, &grid, &THRESHOLDS, |i, facts| {
                    i != 4 && facts.above_low > 0
                })
                .unwrap()
            };
            let (found, wanted) = (of(&device), of(&Device::Cpu));
            assert_eq!(found, wanted, "{size:?} {side} {dtype:?}");
            words += wanted
                .iter()
                .flat_map(|(_, bits)| bits)
                .map(|b| b.words.len())
                .sum::<usize>();
            let (_, unwanted) = &wanted[4];
            assert!(unwanted.is_none());
        }
        let far = MaskAt {
            logits: tensor(&logits, (4, side, side)).to_device(&device).unwrap(),
            index: 4,
        };
        assert!(draw_masks(&[far], &grid, &THRESHOLDS, |_, _| true).is_err());
    }
    assert!(words > 500, "{words} words compared");
}

#[test]
fn pictures_are_prepared_as_on_the_cpu() {
    let Some(device) = device() else { return };
    for (from, to) in pictures::SIZES {
        let bytes = pictures::bytes(from);
        let picture = Picture {
            bytes: &bytes,
            width: from.0,
            height: from.1,
        };
        let host = |t: Tensor| -> Vec<f32> {
            let t = t.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            t.flatten_all().unwrap().to_vec1().unwrap()
        };
        let orders = pictures::orders(to);
        for (order, rows_first) in orders
            .into_iter()
            .flat_map(|order| [(order, false), (order, true)])
        {
            let resize = pictures::resize(from, to, 20, rows_first);
            for dtype in [DType::F32, DType::BF16, DType::F16] {
                let of = |on: &Device| {
                    let levels = pictures::levels();
                    let input = byte_pixels(picture, &resize, &levels, order, dtype, on).unwrap();
                    assert_eq!(input.dtype(), dtype);
                    (input.dims().to_vec(), host(input))
                };
                assert_eq!(
                    of(&device),
                    of(&Device::Cpu),
                    "{from:?} to {to:?} {order:?} {dtype:?}"
                );
            }
        }
        let axes = (&pictures::mix(from.0, to.0, 1), &pictures::mix(from.1, to.1, 2));
        let of = |on: &Device| {
            let input = float_pixels(picture, axes, &pictures::NORMAL, on).unwrap();
            (input.dims().to_vec(), host(input))
        };
        assert_eq!(of(&device), of(&Device::Cpu), "{from:?} to {to:?}");
    }
}

#[test]
fn likeliest_tokens_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    for vocabulary in [1, 2, 31, 1000, 5003] {
        let (logits, seen, barred) = argmax::rows(vocabulary);
        let of = |on: &Device| argmax::found(&logits, &seen, &barred, on);
        assert_eq!(of(&device), of(&Device::Cpu), "{vocabulary} tokens");
        let nothing = vec![Vec::new(); seen.len()];
        let of = |on: &Device| argmax::found(&logits, &nothing, &nothing, on);
        assert_eq!(
            of(&device),
            of(&Device::Cpu),
            "{vocabulary} tokens, nothing held against them"
        );
    }
}

#[test]
fn tokens_to_draw_from_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    // Few of a vocabulary, many, and more than are fetched at first: a row of equals has all of them.
    for (vocabulary, k) in [(1, 1), (31, 3), (1000, 1), (5003, 50), (5003, 600), (1000, 900)] {
        let (logits, seen, barred) = argmax::rows(vocabulary);
        let nothing = vec![Vec::new(); seen.len()];
        for (seen, barred) in [(&seen, &barred), (&nothing, &nothing)] {
            let of = |on: &Device| sampling::top(&logits, seen, barred, k, on);
            assert_eq!(of(&device), of(&Device::Cpu), "{k} of {vocabulary} tokens");
        }
    }
}

#[test]
fn best_tokens_of_sets_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    for vocabulary in [1, 31, 1000, 5003] {
        let (logits, ..) = argmax::rows(vocabulary);
        let sets = sampling::sets(vocabulary, 5);
        let there = logits.to_device(&device).unwrap();
        // Once to send the sets there, once with them there.
        for _ in 0..2 {
            let (found, wanted) = (sampling::best(&there, &sets), sampling::best(&logits, &sets));
            assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(&wanted) {
                let token = |best: &Option<(u32, f64)>| best.map(|(token, _)| token);
                assert_eq!(token(found), token(wanted), "{vocabulary} tokens");
                let share = |best: &Option<(u32, f64)>| best.map_or(1., |(_, share)| share.exp());
                assert!((share(found) - share(wanted)).abs() < 1e-12 * share(wanted));
            }
        }
    }
}
