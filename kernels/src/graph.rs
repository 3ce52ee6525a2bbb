//! Work that a GPU's queue keeps as a graph and does again whenever it is launched, for one call of the driver.
//!
//! The work must be the same every time: kernels are given the addresses and numbers of the capture. What changes lies in memory that
//! was there before and stays. Of the rest (CUDA Programming Guide, "CUDA Graphs"; driver API, `cuMemFreeAsync`): a capture takes no
//! copy from or to the host, waits for nothing, and frees only what it allocated itself; what it allocates belongs to the graph.

use candle_core::{Device, Result, Tensor};

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
mod cuda {
    use candle_core::{Device, Result, Tensor};

    use super::Values;

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

    pub(super) fn refill(of: &Tensor, _: Values<'_>) -> Result<()> {
        candle_core::bail!("{:?} has no graphs that read what is there", of.device())
    }

    pub(super) fn keep_shapes(_: &Device) -> impl Sized + use<> {}
}

/// Work, launched by [`Self::launch`]. Whoever holds it keeps alive what the work reads and writes.
#[derive(Debug)]
pub struct Graph(cuda::Captured);

/// What a graph reads anew at each launch.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    Words(&'a [u32]),
    Floats(&'a [f32]),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Floats(floats) => floats.len(),
        }
    }
}

/// Whether `DRAGUNOV_CUDA_GRAPHS` asks for graphs and `device` has them.
pub fn asked_for(device: &Device) -> bool {
    #[cfg(feature = "cuda")]
    if crate::backend::Backend::has_cuda_kernels(device) {
        return crate::backend::graphs_asked_for();
    }
    let _ = device;
    false
}

/// Does `work` as it will be captured: that loads code, and leaves on the device what candle's kernels read of shapes and strides, for as
/// long as the process runs (512 bytes for each of them that comes up). A capture can do neither.
///
/// # Errors
/// What `work` answers.
pub fn rehearse<T, E>(
    device: &Device,
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let _kept = cuda::keep_shapes(device);
    work()
}

/// Keeps what `work` queues on `device` instead of doing it. No other thread may use this [`Device`] meanwhile: a capture takes the
/// queue's work, whoever queues it. Another one of the same GPU has a queue of its own, and goes on.
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

/// Puts values where a tensor lies, in place of those that were there: what a graph reads at one address. The tensor must be all of its
/// memory.
///
/// # Errors
/// Another number or type of values; devices without CUDA.
pub fn refill(of: &Tensor, with: Values<'_>) -> Result<()> {
    let layout = of.layout();
    if layout.start_offset() != 0 || !layout.is_contiguous() || of.elem_count() != with.len() {
        candle_core::bail!("{} values for {layout:?}", with.len())
    }
    cuda::refill(of, with)
}
