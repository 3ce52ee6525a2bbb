//! Work that a GPU's queue keeps as a graph and does again whenever it is launched, for one call of the driver.
//!
//! The work must be the same every time: kernels are given the addresses and numbers of the capture. What changes lies in memory that
//! was there before and stays. Of the rest (CUDA Programming Guide, "CUDA Graphs"; driver API, `cuMemFreeAsync`): a capture takes no
//! copy from or to the host, waits for nothing, and frees only what it allocated itself; what it allocates belongs to the graph.

use candle_core::{Device, Result};

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
mod cuda {
    use candle_core::{Device, Result};

    #[derive(Debug)]
    pub(super) enum Captured {}

    impl Captured {
        pub(super) fn new(device: &Device, _: impl FnOnce() -> Result<()>) -> Result<Self> {
            candle_core::bail!("{device:?} has no graphs")
        }

        pub(super) fn launch(&self) -> Result<()> {
            match *self {}
        }
    }
}

/// Work, launched by [`Self::launch`]. Whoever holds it keeps alive what the work reads and writes.
#[derive(Debug)]
pub struct Graph(cuda::Captured);

/// Whether `DRAGUNOV_CUDA_GRAPHS` asks for graphs and `device` has them.
pub fn asked_for(device: &Device) -> bool {
    #[cfg(feature = "cuda")]
    if crate::backend::Backend::has_cuda_kernels(device) {
        return crate::backend::graphs_asked_for();
    }
    let _ = device;
    false
}

/// Keeps what `work` queues on `device` instead of doing it. No other thread may use the device meanwhile: a capture takes the
/// queue's work, whoever queues it.
///
/// # Errors
/// What `work` answers and what a capture does not take; the queue then is as it was, and nothing was done. Devices without graphs.
pub fn capture(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
    cuda::Captured::new(device, work).map(Graph)
}

impl Graph {
    /// Queues the work.
    ///
    /// # Errors
    /// What the driver answers.
    pub fn launch(&self) -> Result<()> {
        self.0.launch()
    }
}
