//! The accurate integer inverse DCT of libjpeg (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz 1989).

use std::num::Wrapping;

const BITS: usize = 13;
/// Extra bits kept between the passes.
const PASS1: usize = 2;

/// Damaged files overflow; what they decode to does not matter.
type Int = Wrapping<i32>;

/// One dimension, scaled up by `2^BITS`.
fn butterfly(x: [Int; 8]) -> [Int; 8] {
    let times = |x: Int, k: i32| x * Wrapping(k);
    let shared = times(x[2] + x[6], 4433);
    let even2 = shared - times(x[6], 15137);
    let even3 = shared + times(x[2], 6270);
    let sum = (x[0] + x[4]) << BITS;
    let difference = (x[0] - x[4]) << BITS;
    let even = [sum + even3, difference + even2, difference - even2, sum - even3];

    let (a, b, c, d) = (x[7], x[5], x[3], x[1]);
    let all = times(a + c + b + d, 9633);
    let z1 = times(a + d, -7373);
    let z2 = times(b + c, -20995);
    let z3 = all - times(a + c, 16069);
    let z4 = all - times(b + d, 3196);
    let odd = [
        times(d, 12299) + z1 + z4,
        times(c, 25172) + z2 + z3,
        times(b, 16819) + z2 + z4,
        times(a, 2446) + z1 + z3,
    ];
    let mut out = [Wrapping(0); 8];
    for i in 0..4 {
        out[i] = even[i] + odd[i];
        out[7 - i] = even[i] - odd[i];
    }
    out
}

fn descale(x: Int, bits: usize) -> Int {
    (x + Wrapping(1 << (bits - 1))) >> bits
}

/// Dequantises a block and writes its 8 x 8 samples at the start of `plane`.
pub(super) fn inverse(coefficients: &[i16; 64], table: &[u16; 64], plane: &mut [u8], stride: usize) {
    let mut work = [Wrapping(0i32); 64];
    for column in 0..8 {
        let mut x = [Wrapping(0); 8];
        for (row, x) in x.iter_mut().enumerate() {
            let i = row * 8 + column;
            // 16 bits, as in libjpeg's vector code.
            *x = Wrapping(i32::from(coefficients[i].wrapping_mul(table[i] as i16)));
        }
        for (row, y) in butterfly(x).into_iter().enumerate() {
            work[row * 8 + column] = descale(y, BITS - PASS1);
        }
    }
    for (row, x) in work.as_chunks::<8>().0.iter().enumerate() {
        let out = &mut plane[row * stride..row * stride + 8];
        for (out, y) in out.iter_mut().zip(butterfly(*x)) {
            let level = descale(y, BITS + PASS1 + 3) + Wrapping(128);
            *out = level.0.clamp(0, 255) as u8;
        }
    }
}
