//! The tile product in plain Rust.

use super::{BLOCK, Line, STEP, Shape, Sums, TILE};

/// As the instructions do: products of bf16 in f32, summed in f32.
pub(super) fn multiply(shape: Shape, a: &[Line], b: &[Line], sums: &mut Sums) {
    let Shape {
        rows,
        columns,
        terms,
        steps,
    } = shape;
    for row in sums.0.chunks_exact_mut(BLOCK).take(rows * TILE) {
        row[..columns * TILE].fill(0.);
    }
    for step in 0..steps {
        let a = &a[step * terms.lines(rows)..][..terms.lines(rows)];
        let b = &b[step * terms.lines(columns)..][..terms.lines(columns)];
        for &(of_a, of_b) in terms.pairs() {
            let (a_at, b_at) = (of_a * rows * TILE, of_b * columns * TILE);
            for i in 0..rows * TILE {
                for j in 0..columns {
                    let b = &b[b_at + j * TILE..][..TILE];
                    let sums = &mut sums.0[i * BLOCK + j * TILE..][..TILE];
                    tile_row(&a[a_at + i], b, sums);
                }
            }
        }
    }
}

/// `sums[n] += sum of a[2r] b[r][2n] + sum of a[2r + 1] b[r][2n + 1]` over the 16 pairs: as the instruction, which sums even and odd
/// numbers from zero, each on its own, and only then adds both to what was there (Intel's manual, volume 2, TDPBF16PS).
fn tile_row(a: &Line, b: &[Line], sums: &mut [f32]) {
    let widen = |bits: u16| f32::from_bits(u32::from(bits) << 16);
    let (mut even, mut odd) = ([0.; TILE], [0.; TILE]);
    for (r, b) in b.iter().enumerate() {
        let (of_even, of_odd) = (widen(a.0[2 * r]), widen(a.0[2 * r + 1]));
        for n in 0..TILE {
            even[n] += of_even * widen(b.0[2 * n]);
            odd[n] += of_odd * widen(b.0[2 * n + 1]);
        }
    }
    for (n, sum) in sums.iter_mut().enumerate() {
        *sum += even[n] + odd[n];
    }
}

const _: () = assert!(STEP == 2 * TILE);
