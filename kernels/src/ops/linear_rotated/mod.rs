//! What begins the attention of a decoder: one product to queries, keys and values, rotary positions, and the new keys and values
//! behind those of their sequences' caches.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Result, Tensor};

use super::attention::ragged::{CachedSequence, check, check_behind};
use super::linear::{LinearWeight, linear};
use super::rotary::rotary;
use crate::Epilogue;

/// `x` (1, N, in), the new tokens of one sequence after the other, by `weight` ((H + 2 Hkv) d, in) and `bias` ((H + 2 Hkv) d) to the
/// queries, the keys and the values of each token. Answers the queries, turned, (1, H, N, d); writes the keys, turned, and the values
/// behind what the caches hold. Tables (1, N, d/2) or (N, d/2) as in [`rotary`]. One launch on a GPU, after the product.
///
/// With `cached` (sequences, u32) it is the GPU that alone knows how many tokens the caches hold, as in
/// [`attention_ragged_behind`](crate::attention_ragged_behind).
///
/// # Errors
/// Sequences whose tokens do not add up, caches without room, mixed element types; with `cached`: devices without CUDA kernels.
pub fn linear_rotated(
    x: &Tensor,
    (weight, bias): (&LinearWeight, Option<&Tensor>),
    (cos, sin): (&Tensor, &Tensor),
    sequences: &[CachedSequence<'_>],
    cached: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, tokens, _) = x.dims3()?;
    let Some(of_all) = sequences.first() else {
        candle_core::bail!("{tokens} new tokens of no sequence")
    };
    let (_, kv_heads, _, d) = of_all.keys.dims4()?;
    let check = |t: &Tensor| match cached {
        Some(cached) => check_behind(t, sequences, cached),
        None => check(t, sequences),
    };
    #[cfg(feature = "cuda")]
    if cuda::takes(x, sequences, cos) {
        let product = linear(x, weight, Epilogue::default())?;
        let rows = heads(&product, d)?;
        check(&rows.narrow(1, 0, queries(&rows, kv_heads)?)?)?;
        check(&rows.narrow(1, 0, kv_heads)?)?;
        return cuda::place(&product, bias, (cos, sin), sequences, cached);
    }
    if cached.is_some() {
        candle_core::bail!("{:?} counts no tokens on a device", x.device())
    }
    let epilogue = Epilogue {
        bias: bias.cloned(),
        ..Epilogue::default()
    };
    let rows = heads(&linear(x, weight, epilogue)?, d)?;
    let queries = queries(&rows, kv_heads)?;
    let part = |from, n| rows.narrow(1, from, n);
    let (q, k, v) = (
        part(0, queries)?,
        part(queries, kv_heads)?,
        part(queries + kv_heads, kv_heads)?,
    );
    check(&q)?;
    check(&k)?;
    let k = rotary(&k, cos, sin)?;
    let mut first = 0;
    for s in sequences.iter().filter(|s| s.new > 0) {
        let of = |t: &Tensor| t.narrow(2, first, s.new)?.contiguous();
        s.keys.slice_set(&of(&k)?, 2, s.cached)?;
        s.values.slice_set(&of(&v)?, 2, s.cached)?;
        first += s.new;
    }
    rotary(&q, cos, sin)
}

/// (1, N, heads d) as (1, heads, N, d).
fn heads(product: &Tensor, d: usize) -> Result<Tensor> {
    let (b, n, width) = product.dims3()?;
    if d == 0 || !width.is_multiple_of(d) {
        candle_core::bail!("linear_rotated: {width} outputs for heads of {d}")
    }
    product.reshape((b, n, width / d, d))?.transpose(1, 2)
}

/// Heads of queries among all of `rows` (1, heads, N, d).
fn queries(rows: &Tensor, kv_heads: usize) -> Result<usize> {
    let all = rows.dim(1)?;
    match all.checked_sub(2 * kv_heads) {
        Some(queries) if queries > 0 => Ok(queries),
        _ => candle_core::bail!("linear_rotated: {all} heads in all for {kv_heads} of keys"),
    }
}
