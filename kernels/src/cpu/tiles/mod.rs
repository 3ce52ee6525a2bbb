//! Products by tiles of bf16: what CPUs with AMX multiply twenty times faster than f32, those with AVX-512's own bf16 twice as fast.
//!
//! An f32 is split into bf16 numbers of falling size, and a product becomes the products of those, with sums in f32
//! ([Henry, Tang and Heinecke 2019](https://arxiv.org/abs/1904.06376)):
//!
//! | terms | kept of an operand | products | left out of a product, at most |
//! |---|---|---|---|
//! | one | itself, if it is bf16 | `h h` | nothing |
//! | two, "BF16x3" | 17 bits | `h h + h m + m h` | 2^-15 of it |
//! | three, "BF16x6" | all 24 bits | `h h + h m + m h + m m + h l + l h` | 2^-23 of it: less than f32's own rounding |
//!
//! | file | holds |
//! |---|---|
//! | `amx.rs` | the tile product in instructions, and whether this machine has them |
//! | `avx512.rs` | the same by vectors, for tensors of bf16 where there is no AMX |
//! | `portable.rs` | the same in plain Rust, for tests on other machines |
//! | `split.rs` | f32 to terms, in tiles |
//! | `weight.rs` | the right-hand side, split and laid out once |
//! | `sweep.rs` | rows against panels of it, with what follows a product |
//! | `product.rs` | a whole product in tasks |
//!
//! Both sides lie in steps of 32 along the sum: the first term of 16 rows (or columns), that of the next 16, then both second
//! terms, and so on.

mod amx;
mod avx512;
mod portable;
pub(crate) mod product;
mod split;
pub(crate) mod sweep;
pub(crate) mod weight;

/// Rows and columns of a tile of sums.
pub(crate) const TILE: usize = 16;
/// Rows and columns that are summed at a time: 2 x 2 tiles.
pub(crate) const BLOCK: usize = 2 * TILE;
/// Length of a sum that one instruction covers.
pub(crate) const STEP: usize = 32;

/// A row of a tile: 32 numbers of bf16, in a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u16; STEP]);

impl Line {
    pub(crate) const ZERO: Self = Self([0; STEP]);
}

/// Sums of 32 x 32, row-major.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sums(pub [f32; BLOCK * BLOCK]);

/// Bf16 numbers that stand for one of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// The operand rounded.
    One,
    Two,
    Three,
}

impl Terms {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// Which terms of the left and right operand are multiplied, in this order.
    fn pairs(self) -> &'static [(usize, usize)] {
        match self {
            Self::One => &[(0, 0)],
            Self::Two => &[(0, 1), (0, 0), (1, 0)],
            Self::Three => &[(0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)],
        }
    }

    /// Lines of a step of `tiles` tiles.
    pub(crate) fn lines(self, tiles: usize) -> usize {
        self.count() * tiles * TILE
    }
}

/// Who multiplies tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Amx,
    /// Numbers of bf16 in vectors: worth its while for one term, not for an f32 in three products.
    Avx512,
    /// For tests: no faster than a plain loop.
    Portable,
}

impl Engine {
    /// The machine's matrix unit, if it has one and this process may use it.
    pub(crate) fn matrix_unit() -> Option<Self> {
        amx::permitted().then_some(Self::Amx)
    }

    /// What this machine multiplies tensors of bf16 with, if it has anything for them.
    pub(crate) fn of_bf16() -> Option<Self> {
        Self::matrix_unit().or_else(|| avx512::available().then_some(Self::Avx512))
    }

    /// Runs `work` with the tile registers of this thread set up, and gives them up afterwards. `work` must not wait for
    /// other tasks, which might set them up again.
    pub(crate) fn with<R>(self, work: impl FnOnce(&Multiplier) -> R) -> R {
        work(&Multiplier(match self {
            Self::Amx => amx::Session::begin().map_or(Unit::Portable, Unit::Amx),
            Self::Avx512 => Unit::Avx512,
            Self::Portable => Unit::Portable,
        }))
    }
}

/// Multiplies on one thread.
#[derive(Debug)]
pub(crate) struct Multiplier(Unit);

#[derive(Debug)]
enum Unit {
    Amx(amx::Session),
    Avx512,
    Portable,
}

impl Multiplier {
    /// `sums = a b` over `steps` steps of `a` (`shape.rows` tiles) and `b` (`shape.columns` tiles). Meanwhile `ahead`, which is
    /// wanted next, comes into the cache.
    ///
    /// # Panics
    /// If `a` or `b` is shorter than that.
    pub(crate) fn multiply(&self, shape: Shape, a: &[Line], b: &[Line], ahead: &[Line], sums: &mut Sums) {
        let Shape {
            rows,
            columns,
            terms,
            steps,
        } = shape;
        let (a, b) = (
            &a[..steps * terms.lines(rows)],
            &b[..steps * terms.lines(columns)],
        );
        match &self.0 {
            Unit::Amx(session) => session.multiply(shape, a, b, ahead, sums),
            Unit::Avx512 => avx512::multiply(shape, a, b, ahead, sums),
            Unit::Portable => portable::multiply(shape, a, b, sums),
        }
    }
}

/// Of one block: tiles of rows and of columns (1 or 2 of each), and the length of the sums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub rows: usize,
    pub columns: usize,
    pub terms: Terms,
    pub steps: usize,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Small integers are exact in bf16 and in sums of f32, so all engines must give the same.
    #[test]
    fn the_instructions_do_what_the_loops_do() {
        let amx = Engine::matrix_unit();
        let avx512 = avx512::available().then_some(Engine::Avx512);
        for (name, engine) in [("AMX", amx), ("AVX-512's products of bf16", avx512)] {
            match engine {
                Some(engine) => agrees_with_the_loops(engine),
                None => {
                    let line = format!("NOT RUN: {name}, which this machine does not have\n");
                    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
                }
            }
        }
    }

    fn agrees_with_the_loops(native: Engine) {
        let number = |i: usize| half::bf16::from_f32(((i * 7919) % 31) as f32 - 15.).to_bits();
        for terms in [Terms::One, Terms::Two, Terms::Three] {
            for (rows, columns, steps) in [(1, 1, 1), (2, 1, 3), (1, 2, 2), (2, 2, 5), (2, 2, 0)] {
                let lines = |tiles: usize, seed: usize| -> Vec<Line> {
                    (0..steps * terms.lines(tiles))
                        .map(|l| Line(std::array::from_fn(|i| number(seed + l * STEP + i))))
                        .collect()
                };
                let (a, b) = (lines(rows, 3), lines(columns, 11));
                let shape = Shape {
                    rows,
                    columns,
                    terms,
                    steps,
                };
                let [found, wanted] = [native, Engine::Portable].map(|engine| {
                    let mut sums = Sums([f32::NAN; BLOCK * BLOCK]);
                    engine.with(|m| m.multiply(shape, &a, &b, &b, &mut sums));
                    sums
                });
                for i in 0..rows * TILE {
                    let row = i * BLOCK..i * BLOCK + columns * TILE;
                    assert_eq!(
                        found.0[row.clone()],
                        wanted.0[row],
                        "{native:?}, {shape:?}, row {i}"
                    );
                }
            }
        }
    }
}
