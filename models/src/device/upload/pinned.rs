//! Weights to a GPU: all threads copy them into page-locked memory, from which the device fetches them by itself while the
//! next are copied. From ordinary memory the driver would copy once more, with one thread, and wait.
#![allow(unsafe_code)]

use std::sync::Arc;

use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaStream, DevicePtrMut, PinnedHostSlice, result,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{DType, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

/// One is filled while the others are fetched.
const STAGES: usize = 3;
const STAGE_BYTES: usize = 16 << 20;
/// What a thread copies at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Of places within a stage.
const ALIGNMENT: usize = 256;

struct Stage {
    /// Where `memory` lies.
    at: usize,
    #[expect(dead_code, reason = "given back to the driver when it is dropped")]
    memory: PinnedHostSlice<u8>,
    /// When the device has fetched all of it.
    fetched: CudaEvent,
}

pub(super) struct Pinned {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    stages: Vec<Stage>,
    /// Stage that is being filled, and how far.
    stage: usize,
    used: usize,
}

impl Pinned {
    pub(super) fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let stage = || {
            let context = stream.context();
            // SAFETY: nothing reads the memory before `put` has written it.
            let mut memory = unsafe { context.alloc_pinned(STAGE_BYTES) }.w()?;
            let at = memory.as_mut_ptr().w()? as usize;
            let fetched = context.new_event(None).w()?;
            Ok(Stage { at, memory, fetched })
        };
        Ok(Self {
            device: device.clone(),
            stages: (0..STAGES).map(|_| stage()).collect::<Result<_>>()?,
            stream: stream.clone(),
            stage: 0,
            used: 0,
        })
    }

    pub(super) fn is_to(&self, device: &CudaDevice) -> bool {
        self.device.id() == device.id()
    }

    /// `data` holds the bytes of the shape and at least one.
    pub(super) fn tensor(&mut self, data: &[u8], dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let shape = Shape::from(shape);
        // SAFETY: every byte is written below, on the stream that the tensor's users are queued on.
        let mut storage = unsafe { self.device.alloc_uninit(&shape, dtype) }?;
        let stream = self.stream.clone();
        macro_rules! by_type {
            ($($kind:ident)*) => {
                match &mut storage.slice {
                    $(CudaStorageSlice::$kind(slice) => {
                        let (to, _writing) = slice.device_ptr_mut(&stream);
                        self.put(data, to)?;
                    })*
                    _ => candle_core::bail!("weights of {dtype:?} are not loaded to a GPU"),
                }
            };
        }
        by_type!(F32 BF16 F16 F64 I64 U32 U8);
        Ok(Tensor::from_storage(
            Storage::Cuda(storage),
            shape,
            BackpropOp::none(),
            false,
        ))
    }

    /// Queues copies of `data` to device memory at `to`.
    fn put(&mut self, mut data: &[u8], mut to: u64) -> Result<()> {
        while !data.is_empty() {
            if self.used == STAGE_BYTES {
                self.turn()?;
            }
            let at = self.stages[self.stage].at as *mut u8;
            let n = data.len().min(STAGE_BYTES - self.used);
            let (now, later) = data.split_at(n);
            // SAFETY: the stage is not being fetched from here on (`turn` has waited for that), and holds STAGE_BYTES.
            let room = unsafe { std::slice::from_raw_parts_mut(at.add(self.used), n) };
            room.par_chunks_mut(PIECE_BYTES)
                .zip(now.par_chunks(PIECE_BYTES))
                .for_each(|(to, from)| to.copy_from_slice(from));
            self.stream.context().bind_to_thread().w()?;
            // SAFETY: `to` has room for what is left of `data`; the stage is not written before `fetched` was waited for.
            unsafe { result::memcpy_htod_async(to, room, self.stream.cu_stream()) }.w()?;
            self.used = (self.used + n).next_multiple_of(ALIGNMENT).min(STAGE_BYTES);
            data = later;
            to += n as u64;
        }
        Ok(())
    }

    /// To the next stage, once the device has fetched what is in it.
    fn turn(&mut self) -> Result<()> {
        self.stages[self.stage].fetched.record(&self.stream).w()?;
        self.stage = (self.stage + 1) % STAGES;
        self.stages[self.stage].fetched.synchronize().w()?;
        self.used = 0;
        Ok(())
    }
}

impl Drop for Pinned {
    /// The memory goes back to the driver, which must not be fetching it.
    fn drop(&mut self) {
        if let Err(error) = self.stream.synchronize() {
            tracing::warn!("weights on their way to the device: {error}");
        }
    }
}
