use std::fmt;
use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaStream};
use candle_core::{Device, Result};

pub(super) struct Captured(CudaGraph);

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
