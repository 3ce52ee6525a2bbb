//! Transposition of matrices by blocks of 8 x 8 in registers: packing a weight must not cost what multiplying dozens of rows does.

/// `dst[k width + j] = src[j stride + k]` for `j < rows` and `k < k`.
pub(crate) struct BlockTranspose<'a> {
    pub src: &'a [f32],
    /// Floats from row to row of `src`.
    pub stride: usize,
    pub rows: usize,
    pub k: usize,
    pub dst: &'a mut [f32],
    /// Floats from row to row of `dst`, at least `rows`.
    pub width: usize,
}

/// Runs it with the vectors of this machine.
pub(crate) fn block_transpose(job: BlockTranspose<'_>) {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        // Blocks of 16 x 16 are no faster: memory is what limits this.
        pulp::Arch::V4(simd) => return pulp::Simd::vectorize(*simd, x86::Blocks(job)),
        pulp::Arch::V3(simd) => return pulp::Simd::vectorize(simd, x86::Blocks(job)),
        _ => {}
    }
    let mut job = job;
    let (rows, k) = (job.rows, job.k);
    job.singly(0..rows, 0..k);
}

impl BlockTranspose<'_> {
    /// One number at a time.
    #[inline(always)]
    fn singly(&mut self, rows: std::ops::Range<usize>, k: std::ops::Range<usize>) {
        for j in rows {
            let src = &self.src[j * self.stride..][k.clone()];
            for (k, &v) in k.clone().zip(src) {
                self.dst[k * self.width + j] = v;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m256;

    use pulp::x86::V3;
    use pulp::{Simd, WithSimd, cast, f32x8};

    use super::BlockTranspose;

    /// Side of a block in registers.
    const BLOCK: usize = 8;
    /// Floats in a cache line: a line that was fetched is used up before the next, since rows that lie a power of two
    /// apart share a handful of cache ways.
    const LINE: usize = 16;

    pub(super) struct Blocks<'a>(pub(super) BlockTranspose<'a>);

    impl WithSimd for Blocks<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Some(simd) = V3::try_new() else { return };
            let mut job = self.0;
            let (rows, k) = (job.rows / BLOCK * BLOCK, job.k / BLOCK * BLOCK);
            for j0 in (0..rows).step_by(LINE) {
                for k0 in (0..k).step_by(LINE) {
                    for j in (j0..rows.min(j0 + LINE)).step_by(BLOCK) {
                        for k in (k0..k.min(k0 + LINE)).step_by(BLOCK) {
                            block(simd, &mut job, j, k);
                        }
                    }
                }
            }
            job.singly(0..rows, k..job.k);
            job.singly(rows..job.rows, 0..job.k);
        }
    }

    #[inline(always)]
    fn block(simd: V3, job: &mut BlockTranspose<'_>, j: usize, k: usize) {
        let avx = simd.avx;
        let mut a = [cast::<f32x8, __m256>(simd.splat_f32s(0.)); BLOCK];
        for (r, a) in a.iter_mut().enumerate() {
            let at = (j + r) * job.stride + k;
            *a = cast(V3::as_simd_f32s(&job.src[at..at + BLOCK]).0[0]);
        }
        let mut b = a;
        for i in 0..4 {
            b[2 * i] = avx._mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = avx._mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        for i in [0, 4] {
            a[i] = avx._mm256_shuffle_ps::<0x44>(b[i], b[i + 2]);
            a[i + 1] = avx._mm256_shuffle_ps::<0xee>(b[i], b[i + 2]);
            a[i + 2] = avx._mm256_shuffle_ps::<0x44>(b[i + 1], b[i + 3]);
            a[i + 3] = avx._mm256_shuffle_ps::<0xee>(b[i + 1], b[i + 3]);
        }
        for i in 0..4 {
            b[i] = avx._mm256_permute2f128_ps::<0x20>(a[i], a[i + 4]);
            b[i + 4] = avx._mm256_permute2f128_ps::<0x31>(a[i], a[i + 4]);
        }
        for (r, b) in b.into_iter().enumerate() {
            let at = (k + r) * job.width + j;
            V3::as_mut_simd_f32s(&mut job.dst[at..at + BLOCK]).0[0] = cast(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lands_in_its_place_and_nowhere_else() {
        for (rows, k, spare) in [
            (0, 5, 0),
            (1, 1, 0),
            (8, 8, 0),
            (8, 24, 3),
            (64, 33, 0),
            (13, 40, 3),
            (29, 7, 5),
            (48, 147, 16),
        ] {
            let (stride, width) = (k + spare, rows + spare);
            let src: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
            let mut dst = vec![-1.; k * width];
            block_transpose(BlockTranspose {
                src: &src,
                stride,
                rows,
                k,
                dst: &mut dst,
                width,
            });
            for (i, &v) in dst.iter().enumerate() {
                let (k, j) = (i / width, i % width);
                let right = if j < rows { (j * stride + k) as f32 } else { -1. };
                assert_eq!(v, right, "{rows} rows, {k} of them: row {k}, column {j}");
            }
        }
    }
}
