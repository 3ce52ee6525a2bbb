#[cfg(feature = "cuda")]
use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use candle_core::{Device, Result, Tensor};

/// Segments of a sequence that attend to themselves alone: cumulative lengths `0 = c0 <= c1 <= ... <= N` (`cu_seqlens`). Make it
/// once for all layers: a GPU gets a copy at the first use.
#[derive(Debug)]
pub struct Segments {
    cumulative: Vec<usize>,
    #[cfg(feature = "cuda")]
    on_device: OnceLock<Tensor>,
}

impl Segments {
    /// Of cumulative lengths; attention refuses those that do not fit.
    pub fn new(cumulative: impl Into<Vec<usize>>) -> Self {
        Self {
            cumulative: cumulative.into(),
            #[cfg(feature = "cuda")]
            on_device: OnceLock::new(),
        }
    }

    /// Cumulative lengths.
    pub fn cumulative(&self) -> &[usize] {
        &self.cumulative
    }

    /// Whether they begin at 0, never fall and end at `n`.
    pub(super) fn cover(&self, n: usize) -> bool {
        let rising = self.cumulative.windows(2).all(|w| w[0] <= w[1]);
        rising && self.cumulative.first() == Some(&0) && self.cumulative.last() == Some(&n)
    }

    /// Tokens of the longest.
    #[cfg(feature = "cuda")]
    pub(super) fn longest(&self) -> usize {
        let lengths = self.cumulative.windows(2).map(|w| w[1] - w[0]);
        lengths.max().unwrap_or(0)
    }

    /// The cumulative lengths as u32 on `device`.
    #[cfg(feature = "cuda")]
    pub(super) fn on(&self, device: &Device) -> Result<Tensor> {
        if let Some(kept) = self.on_device.get()
            && kept.device().same_device(device)
        {
            return Ok(kept.clone());
        }
        let lengths: Vec<u32> = self.cumulative.iter().map(|&n| n as u32).collect();
        let sent = Tensor::new(lengths, device)?;
        // Another device's copy stays where it is.
        drop(self.on_device.set(sent.clone()));
        Ok(sent)
    }
}
