use std::fmt;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaStream};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{CpuStorage, CudaStorage, Device, InplaceOp1, Layout, Result, Tensor};

use super::Values;

pub(super) struct Captured(CudaGraph);

// SAFETY: a graph belongs to no thread, and to the context that cudarc makes the thread's own before every launch. Calls of one graph at
// the same time, which the driver forbids, would take a shared reference on two threads: it is not `Sync`.
#[allow(unsafe_code)]
unsafe impl Send for Captured {}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Captured")
    }
}

/// A capture that goes on until this is dropped: also where the work panics the queue must not stay in it.
struct Capturing {
    stream: Arc<CudaStream>,
    ended: bool,
}

impl Capturing {
    fn begin(stream: Arc<CudaStream>) -> Result<Self> {
        // Calls of other threads that have nothing to do with this queue go on.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).w()?;
        Ok(Self { stream, ended: false })
    }

    fn end(&mut self) -> Result<Option<CudaGraph>> {
        self.ended = true;
        // cudarc keeps errors of frees for its next call, and would answer one before it ends the capture; a capture that did not
        // go well makes them, and they are told by its end.
        let _ = self.stream.context().check_err();
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).w();
        if graph.is_err() {
            let _ = self.stream.context().check_err();
        }
        graph
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.end();
        }
    }
}

impl Captured {
    pub(super) fn new(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let device = device.as_cuda_device()?;
        // Events of what came before would be waited for in the capture, which it does not take.
        if device.is_event_tracking() {
            candle_core::bail!("a device whose uses are tracked by events has no graphs")
        }
        let _kept = device.enable_cuda_graph_htod_cache();
        let mut capturing = Capturing::begin(device.cuda_stream())?;
        let done = work();
        let graph = capturing.end();
        // The driver's word for a capture that went wrong says less than what went wrong.
        done?;
        match graph? {
            Some(graph) => Ok(Self(graph)),
            None => candle_core::bail!("a capture gave no graph"),
        }
    }

    pub(super) fn launch(&self) -> Result<()> {
        self.0.launch().w()
    }
}

/// While what this answers lives, shapes and strides that kernels read from memory are uploaded once by this thread and kept.
pub(super) fn keep_shapes(device: &Device) -> impl Sized + use<> {
    let device = device.as_cuda_device().ok();
    device.map(|device| device.enable_cuda_graph_htod_cache())
}

pub(super) fn refill(of: &Tensor, with: Values<'_>) -> Result<()> {
    of.inplace_op1(&Refilled(with))
}

struct Refilled<'a>(Values<'a>);

impl InplaceOp1 for Refilled<'_> {
    fn name(&self) -> &'static str {
        "refill"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("the CPU has no graphs")
    }

    fn cuda_fwd(&self, of: &mut CudaStorage, _: &Layout) -> Result<()> {
        let device = of.device.clone();
        match (&mut of.slice, self.0) {
            (CudaStorageSlice::U32(there), Values::Words(words)) => device.memcpy_htod(words, there),
            (CudaStorageSlice::F32(there), Values::Floats(floats)) => device.memcpy_htod(floats, there),
            _ => candle_core::bail!("{:?} for memory of another type", self.0),
        }
    }
}
