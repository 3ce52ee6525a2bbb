use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{
    ByteMix, ByteResize, Levels, Mix, Normal, Picture, PixelOrder, byte_pixels, float_pixels, reference,
    resize_floats,
};

use super::support::{close, flat, values};

/// Width and height before and after.
pub(crate) const SIZES: [((usize, usize), (usize, usize)); 6] = [
    ((7, 5), (7, 5)),
    ((40, 31), (12, 8)),
    ((9, 50), (9, 4)),
    ((50, 9), (8, 9)),
    ((5, 3), (36, 20)),
    ((1, 1), (4, 4)),
];

pub(crate) const NORMAL: Normal = Normal {
    mean: [0.485, 0.456, 0.406],
    deviation: [0.229, 0.224, 0.225],
};

pub(crate) fn bytes((width, height): (usize, usize)) -> Vec<u8> {
    let random = values(3 * width * height, (width * 100 + height) as u64);
    random.iter().map(|v| ((v + 1.) * 127.9) as u8).collect()
}

/// `pixels` mixed of up to five neighbours of `cells`, some of them with negative weights, together 1 or less.
pub(crate) fn mix(cells: usize, pixels: usize, seed: u64) -> Mix<f64> {
    let mut axis = Mix::default();
    for (pixel, parts) in values(5 * pixels, seed).chunks_exact(5).enumerate() {
        let first = (pixel * cells / pixels).saturating_sub(2);
        let parts = &parts[..(cells - first).min(1 + pixel % 5)];
        let positive = |v: &f32| {
            if *v < -0.5 {
                f64::from(*v) / 4.
            } else {
                f64::from(*v) + 0.6
            }
        };
        let parts: Vec<f64> = parts.iter().map(positive).collect();
        let sum: f64 = parts.iter().sum();
        let sum = if sum < 0.5 { 1. } else { sum };
        axis.push(first, &parts.iter().map(|v| v / sum).collect::<Vec<_>>());
    }
    axis
}

pub(crate) fn resize(from: (usize, usize), to: (usize, usize), bits: u32, rows_first: bool) -> ByteResize {
    let one = f64::from(1u32 << bits);
    let axis = |cells: usize, pixels: usize| {
        let whole = |w: &f64| (w * one).round() as i32;
        (cells != pixels).then(|| ByteMix {
            mix: mix(cells, pixels, 3).map(whole),
            bits,
        })
    };
    ByteResize {
        columns: axis(from.0, to.0),
        rows: axis(from.1, to.1),
        rows_first,
    }
}

pub(crate) fn levels() -> Levels {
    std::array::from_fn(|c| std::array::from_fn(|byte| (byte as f32 - 100. - c as f32) / (50. + c as f32)))
}

/// Orders that a picture of this size has.
pub(crate) fn orders((width, height): (usize, usize)) -> Vec<PixelOrder> {
    let mut orders = vec![
        PixelOrder::Planes { height, width },
        PixelOrder::Planes {
            height: height + 3,
            width: width + 35,
        },
    ];
    if width % 4 == 0 && height % 4 == 0 {
        orders.extend(
            [(2, 2, 2), (1, 4, 3), (4, 1, 1)].map(|(side, merge, frames)| PixelOrder::Patches {
                side,
                merge,
                frames,
            }),
        );
    }
    orders
}

/// The pixel and channel that value `i` of the input is; none beside the picture.
fn source(i: usize, order: PixelOrder, (width, height): (usize, usize)) -> Option<(usize, usize, usize)> {
    let (x, y, channel) = match order {
        PixelOrder::Planes {
            height: rows,
            width: columns,
        } => (i % columns, i / columns % rows, i / (columns * rows)),
        PixelOrder::Patches { side, merge, frames } => {
            let (place, plane) = (i % (side * side), i / (side * side));
            let (channel, patch) = (plane / frames % 3, plane / (3 * frames));
            let (inner, block) = (patch % (merge * merge), patch / (merge * merge));
            let across = width / (side * merge);
            let x = (block % across * merge + inner % merge) * side + place % side;
            let y = (block / across * merge + inner / merge) * side + place / side;
            (x, y, channel)
        }
    };
    (x < width && y < height).then_some((x, y, channel))
}

#[test]
fn bytes_are_mixed_as_a_pixel_at_a_time_would_be() {
    for (from, to) in SIZES {
        let bytes = bytes(from);
        let picture = Picture {
            bytes: &bytes,
            width: from.0,
            height: from.1,
        };
        for (bits, rows_first) in [(20, false), (15, true)] {
            let resize = resize(from, to, bits, rows_first);
            let resized = resize.resized(picture).unwrap();
            for (i, byte) in resized.iter().enumerate() {
                let at = (i / 3 % to.0, i / 3 / to.0, i % 3);
                let wanted = reference::resized_byte(&picture, &resize, at);
                assert_eq!(*byte, wanted, "{from:?} to {to:?} at {at:?}");
            }
            for order in orders(to) {
                let levels = levels();
                let input = byte_pixels(picture, &resize, &levels, order, DType::F32, &Device::Cpu).unwrap();
                for (i, value) in flat(&input).into_iter().enumerate() {
                    let wanted = source(i, order, to).map_or(0., |(x, y, c)| {
                        levels[c][usize::from(resized[(y * to.0 + x) * 3 + c])]
                    });
                    assert_eq!(value, wanted, "{order:?} at {i}");
                }
            }
        }
    }
}

#[test]
fn floats_are_mixed_as_a_pixel_at_a_time_would_be() {
    for (from, to) in SIZES {
        let bytes = bytes(from);
        let picture = Picture {
            bytes: &bytes,
            width: from.0,
            height: from.1,
        };
        let (columns, rows) = (mix(from.0, to.0, 1), mix(from.1, to.1, 2));
        let found = float_pixels(picture, (&columns, &rows), &NORMAL, &Device::Cpu).unwrap();
        assert_eq!(found.dims(), [1, 3, to.1, to.0]);
        let wanted: Vec<f64> = (0..3 * to.0 * to.1)
            .map(|i| {
                let channel = i / (to.0 * to.1);
                let at = (i % to.0, i / to.0 % to.1, channel);
                let level = reference::mixed_level(&picture, (&columns, &rows), at);
                (level - NORMAL.mean[channel]) / NORMAL.deviation[channel]
            })
            .collect();
        close(&flat(&found), &wanted, 1e-7);
    }
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let bytes = bytes((8, 4));
    let picture = Picture {
        bytes: &bytes,
        width: 8,
        height: 4,
    };
    let of = |picture: Picture<'_>, resize: &ByteResize, order| -> candle_core::Result<Tensor> {
        byte_pixels(picture, resize, &levels(), order, DType::F32, &Device::Cpu)
    };
    let kept = resize((8, 4), (8, 4), 8, false);
    let planes = |height, width| PixelOrder::Planes { height, width };
    assert!(of(picture, &kept, planes(4, 8)).is_ok());
    assert!(of(picture, &kept, planes(4, 7)).is_err());
    let patches = |side, merge, frames| PixelOrder::Patches { side, merge, frames };
    for order in [
        patches(3, 1, 1),
        patches(4, 2, 1),
        patches(2, 2, 0),
        patches(0, 2, 2),
    ] {
        assert!(of(picture, &kept, order).is_err(), "{order:?}");
    }
    // More cells than there are, and no picture.
    assert!(of(picture, &resize((20, 4), (4, 4), 8, false), planes(4, 4)).is_err());
    let shorter = Picture {
        bytes: &bytes[1..],
        ..picture
    };
    assert!(of(shorter, &kept, planes(4, 8)).is_err());
    let nothing = Picture {
        bytes: &[],
        width: 0,
        height: 4,
    };
    assert!(of(nothing, &kept, planes(4, 8)).is_err());
    let (columns, rows) = (mix(20, 4, 1), mix(4, 4, 2));
    assert!(float_pixels(picture, (&columns, &rows), &NORMAL, &Device::Cpu).is_err());
    assert!(resize_floats(&[0.; 3], (2, 1), (&mix(2, 1, 1), &mix(1, 1, 1))).is_err());
}
