//! Plain loops: a pixel at a time.

use super::{ByteMix, ByteResize, Picture};
use crate::ops::mix::Mix;

/// The byte of pixel (`x`, `y`) in `channel` of the resized picture: what two passes over whole pictures leave there.
pub fn resized_byte(
    picture: &Picture<'_>,
    resize: &ByteResize,
    (x, y, channel): (usize, usize, usize),
) -> u8 {
    let given = |x: usize, y: usize| picture.bytes[(y * picture.width + x) * 3 + channel];
    let across = |x: usize, of: &dyn Fn(usize) -> u8| mixed(resize.columns.as_ref(), x, of);
    let down = |y: usize, of: &dyn Fn(usize) -> u8| mixed(resize.rows.as_ref(), y, of);
    if resize.rows_first {
        across(x, &|x| down(y, &|y| given(x, y)))
    } else {
        down(y, &|y| across(x, &|x| given(x, y)))
    }
}

fn mixed(mix: Option<&ByteMix>, pixel: usize, cell: &dyn Fn(usize) -> u8) -> u8 {
    let Some(ByteMix { mix, bits }) = mix else {
        return cell(pixel);
    };
    let (first, weights) = mix.of(pixel);
    let sum: i64 = (first..)
        .zip(weights)
        .map(|(at, w)| i64::from(*w) * i64::from(cell(at)))
        .sum();
    // The nearest whole number, upwards from the middle.
    ((sum as f64 / f64::from(1u32 << bits) + 0.5).floor()).clamp(0., 255.) as u8
}

/// The value of pixel (`x`, `y`) in `channel`, from 0 to 1 but for what a negative weight adds, mixed without rounding.
pub fn mixed_level(
    picture: &Picture<'_>,
    (columns, rows): (&Mix<f64>, &Mix<f64>),
    (x, y, channel): (usize, usize, usize),
) -> f64 {
    let ((left, along), (top, down)) = (columns.of(x), rows.of(y));
    let mut sum = 0.;
    for (i, v) in down.iter().enumerate() {
        for (j, h) in along.iter().enumerate() {
            let at = ((top + i) * picture.width + left + j) * 3 + channel;
            sum += v * h * f64::from(picture.bytes[at]) / 255.;
        }
    }
    sum
}
