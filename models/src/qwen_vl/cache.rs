//! The cache of keys and values.

use candle_core::{DType, Device, Result, Tensor};

use super::config::TextConfig;

/// Keys and values of a batch, allocated once for the whole request; steps write into it and read slices of it.
#[derive(Debug)]
pub struct KvCache {
    /// Keys and values (B, Hkv, capacity, d) of each layer.
    layers: Vec<(Tensor, Tensor)>,
    pub(super) len: usize,
    capacity: usize,
    /// Left padding of each row: tokens at the start that nobody attends to.
    pub(super) pads: Vec<usize>,
}

impl KvCache {
    /// Room for `capacity` tokens; `pads` has one entry a row.
    pub fn new(
        cfg: &TextConfig,
        pads: Vec<usize>,
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let shape = (
            pads.len(),
            cfg.num_key_value_heads,
            capacity.max(1),
            cfg.head_dim(),
        );
        let layer = |_| {
            Ok((
                Tensor::zeros(shape, dtype, device)?,
                Tensor::zeros(shape, dtype, device)?,
            ))
        };
        Ok(Self {
            layers: (0..cfg.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            len: 0,
            capacity: capacity.max(1),
            pads,
        })
    }

    /// Row `row` as a cache of its own, empty, in the memory of this one until it grows.
    pub(super) fn row(&self, row: usize) -> Result<Self> {
        let of = |(k, v): &(Tensor, Tensor)| Ok((k.narrow(0, row, 1)?, v.narrow(0, row, 1)?));
        Ok(Self {
            layers: self.layers.iter().map(of).collect::<Result<_>>()?,
            len: 0,
            capacity: self.capacity,
            pads: vec![0],
        })
    }

    /// Makes room for `n` more tokens. An answer longer than planned doubles the room, so that copies stay rare.
    pub(super) fn reserve(&mut self, n: usize) -> Result<()> {
        let needed = self.len + n;
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed.max(2 * self.capacity);
        for tensor in self.layers.iter_mut().flat_map(|(k, v)| [k, v]) {
            let (b, h, _, d) = tensor.dims4()?;
            let wider = Tensor::zeros((b, h, capacity, d), tensor.dtype(), tensor.device())?;
            if self.len > 0 {
                wider.slice_set(&tensor.narrow(2, 0, self.len)?.contiguous()?, 2, 0)?;
            }
            *tensor = wider;
        }
        self.capacity = capacity;
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what came after the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Keys and values (B, Hkv, capacity, d) of a layer.
    pub(super) fn layer(&self, layer: usize) -> (&Tensor, &Tensor) {
        let (keys, values) = &self.layers[layer];
        (keys, values)
    }

    /// Whether the next token makes it move.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keys and values (1, Hkv, capacity - padding, d) of each row of a layer, as views of it.
    pub(super) fn rows(&self, layer: usize) -> Result<Vec<(Tensor, Tensor)>> {
        let (keys, values) = self.layer(layer);
        let row = |t: &Tensor, i: usize, pad: usize| t.narrow(0, i, 1)?.narrow(2, pad, self.capacity - pad);
        let pads = self.pads.iter().enumerate();
        pads.map(|(i, &pad)| Ok((row(keys, i, pad)?, row(values, i, pad)?)))
            .collect()
    }

    /// Writes (B, Hkv, n, d) behind what is there and returns all of it, as views.
    pub(super) fn append(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let n = k.dim(2)?;
        let (keys, values) = self.layer(layer);
        keys.slice_set(&k.contiguous()?, 2, self.len)?;
        values.slice_set(&v.contiguous()?, 2, self.len)?;
        self.seen(layer, n)
    }

    /// What is there with `n` more tokens, which have been written, as views.
    pub(super) fn seen(&self, layer: usize, n: usize) -> Result<(Tensor, Tensor)> {
        let (keys, values) = self.layer(layer);
        Ok((
            keys.narrow(2, 0, self.len + n)?,
            values.narrow(2, 0, self.len + n)?,
        ))
    }
}
