//! The kernels of `cu/`: loaded once, launched on the stream of the device that the tensors are on.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaStream, DevicePtr, DevicePtrMut, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDevice, CudaStorage, CudaStorageSlice, WrapErr};
use candle_core::{DType, Layout, Result, Storage, StorageRef, Tensor};
use half::{bf16, f16};

use super::arguments::{Sequences, Shape};

/// A source of `cu/`, compiled.
#[derive(Debug)]
pub(crate) struct Module {
    name: &'static str,
    image: &'static [u8],
}

macro_rules! modules {
    ($($constant:ident $file:literal)*) => {
        $(pub(crate) static $constant: Module = Module {
            name: $file,
            image: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".fatbin")),
        };)*
    };
}
modules! {
    ARGMAX "argmax"
    ATTENTION "attention"
    CONVOLUTION "convolution"
    DECODING "decoding"
    ELEMENTWISE "elementwise"
    FLASH "flash"
    MASKS "masks"
    NORM "norm"
    PICTURE "picture"
    RELATIVE "relative"
    ROTARY "rotary"
    SAMPLING "sampling"
    SOFTMAX "softmax"
    UPSAMPLE "upsample"
}

/// What a kernel takes; the type must be that of its declaration.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// Device memory; 0 for none.
    At(u64),
    Int(i32),
    Long(i64),
    Float(f32),
    /// By value.
    Shape(&'a Shape),
    Sequences(&'a Sequences),
}

impl Argument<'_> {
    /// A size as a kernel's `int`.
    ///
    /// # Errors
    /// More than 2^31 - 1.
    pub(crate) fn size(n: usize) -> Result<Self> {
        match i32::try_from(n) {
            Ok(n) => Ok(Self::Int(n)),
            Err(_) => candle_core::bail!("{n} elements are more than a CUDA kernel counts"),
        }
    }
}

/// Device memory of an operand, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Operand<'a> {
    at: u64,
    /// Tells cudarc, which may keep record of uses, when the launch has been queued.
    _use: SyncOnDrop<'a>,
}

impl Operand<'_> {
    pub(crate) fn at(&self) -> Argument<'static> {
        Argument::At(self.at)
    }

    pub(crate) fn address(&self) -> u64 {
        self.at
    }

    /// Whether vectors of 16 bytes can be read from here on.
    pub(crate) fn is_aligned(&self) -> bool {
        self.at.is_multiple_of(16)
    }
}

/// Where an operand of an op goes: its device, stream and element type.
#[derive(Debug)]
pub(crate) struct Queue {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    dtype: DType,
}

macro_rules! by_type {
    ($slice:expr, $it:ident => $then:expr) => {
        match $slice {
            CudaStorageSlice::F32($it) => $then,
            CudaStorageSlice::BF16($it) => $then,
            CudaStorageSlice::F16($it) => $then,
            CudaStorageSlice::U32($it) => $then,
            CudaStorageSlice::U8($it) => $then,
            _ => candle_core::bail!("kernels of elements other than f32, bf16, f16, u32 and u8 do not exist"),
        }
    };
}

impl Queue {
    /// Of kernels whose elements are those of `storage`.
    pub(crate) fn of(storage: &CudaStorage) -> Self {
        Self {
            device: storage.device.clone(),
            stream: storage.device.cuda_stream(),
            dtype: storage.dtype(),
        }
    }

    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The same for kernels of another element type.
    pub(crate) fn with_type(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// An operand that a kernel reads from its first element on.
    ///
    /// # Errors
    /// Another element type than the kernel's, memory that is not dense, another device.
    pub(crate) fn reads<'a>(&'a self, storage: &'a CudaStorage, layout: &Layout) -> Result<Operand<'a>> {
        let Some((first, _)) = layout.contiguous_offsets() else {
            candle_core::bail!("a kernel was given strides {:?}", layout.stride())
        };
        self.reads_from(storage, first)
    }

    /// The same for memory whose strides the kernel is told.
    pub(crate) fn reads_from<'a>(&'a self, storage: &'a CudaStorage, first: usize) -> Result<Operand<'a>> {
        if storage.dtype() != self.dtype {
            candle_core::bail!("a kernel of {:?} was given {:?}", self.dtype, storage.dtype())
        }
        if storage.device.id() != self.device.id() {
            candle_core::bail!("the operands of a kernel are on different devices")
        }
        by_type!(&storage.slice, slice => {
            let (at, guard) = slice.device_ptr(&self.stream);
            Ok(Operand { at: at + (first * storage.dtype().size_in_bytes()) as u64, _use: guard })
        })
    }

    /// An operand that a kernel writes, whole and dense.
    pub(crate) fn writes<'a>(&'a self, storage: &'a mut CudaStorage) -> Result<Operand<'a>> {
        by_type!(&mut storage.slice, slice => {
            let (at, guard) = slice.device_ptr_mut(&self.stream);
            Ok(Operand { at, _use: guard })
        })
    }

    /// Memory for `n` elements that a kernel is to write.
    pub(crate) fn output(&self, n: usize) -> Result<CudaStorage> {
        // SAFETY: whoever asks launches a kernel that writes every element before anything reads one.
        unsafe {
            Ok(match self.dtype {
                DType::F32 => CudaStorage::wrap_cuda_slice(self.device.alloc::<f32>(n)?, self.device.clone()),
                DType::BF16 => {
                    CudaStorage::wrap_cuda_slice(self.device.alloc::<bf16>(n)?, self.device.clone())
                }
                DType::F16 => CudaStorage::wrap_cuda_slice(self.device.alloc::<f16>(n)?, self.device.clone()),
                DType::U32 => CudaStorage::wrap_cuda_slice(self.device.alloc::<u32>(n)?, self.device.clone()),
                DType::U8 => CudaStorage::wrap_cuda_slice(self.device.alloc::<u8>(n)?, self.device.clone()),
                other => candle_core::bail!("kernels of {other:?} do not exist"),
            })
        }
    }

    /// Queues `kernel` of this element type.
    ///
    /// # Errors
    /// What the driver answers; a kernel that `module` does not have.
    pub(crate) fn launch(
        &self,
        module: &'static Module,
        kernel: &'static str,
        (grid, block): ((u32, u32), (u32, u32)),
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let function = self.function(module, kernel)?;
        let mut launch = self.stream.launch_builder(&function);
        for argument in arguments {
            match argument {
                Argument::At(at) => launch.arg(at),
                Argument::Int(n) => launch.arg(n),
                Argument::Long(n) => launch.arg(n),
                Argument::Float(x) => launch.arg(x),
                Argument::Shape(shape) => launch.arg(*shape),
                Argument::Sequences(sequences) => launch.arg(*sequences),
            };
        }
        let config = LaunchConfig {
            grid_dim: (grid.0, grid.1, 1),
            block_dim: (block.0, block.1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the op gives what the kernel declares, of the shapes that it has checked; the software device compares
        // sizes and watches every access in the tests.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    /// Looked up once a context and kept: the driver takes a microsecond to find a name.
    fn function(&self, module: &'static Module, kernel: &'static str) -> Result<CudaFunction> {
        static LOADED: OnceLock<Mutex<Loaded>> = OnceLock::new();
        let context = self.stream.context();
        let of_context = context.cu_ctx() as usize;
        let mut loaded = LOADED
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = (of_context, kernel, self.dtype);
        if let Some(function) = loaded.functions.get(&key) {
            return Ok(function.clone());
        }
        let code = match loaded.modules.get(&(of_context, module.name)) {
            Some(code) => code.clone(),
            None => {
                // The software device's images are text, which ends with a zero.
                let image = [module.image, &[0]].concat();
                let code = context.load_module(Ptx::from_binary(image)).w()?;
                loaded.modules.insert((of_context, module.name), code.clone());
                code
            }
        };
        let suffix = match self.dtype {
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            DType::U32 => "u32",
            DType::U8 => "u8",
            other => candle_core::bail!("{}: no kernel of {other:?}", module.name),
        };
        let function = code.load_function(&format!("{kernel}_{suffix}")).w()?;
        loaded.functions.insert(key, function.clone());
        Ok(function)
    }
}

/// By context, as every device of this process has the same one.
#[derive(Default)]
struct Loaded {
    modules: HashMap<(usize, &'static str), Arc<CudaModule>>,
    functions: HashMap<(usize, &'static str, DType), CudaFunction>,
}

/// A tensor that an op holds beside those it is applied to, locked while its kernel is launched.
pub(crate) struct Held<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Held<'a> {
    pub(crate) fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub(crate) fn storage(&self) -> Result<&CudaStorage> {
        match &*self.storage {
            Storage::Cuda(storage) => Ok(storage),
            _ => candle_core::bail!("an operand of a CUDA kernel is on another device"),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout
    }

    /// As [`Queue::reads`].
    pub(crate) fn operand<'b>(&'b self, queue: &'b Queue) -> Result<Operand<'b>> {
        queue.reads(self.storage()?, self.layout)
    }
}

/// An operand that may be missing.
pub(crate) fn optional<'a>(held: Option<&'a Held<'_>>, queue: &'a Queue) -> Result<Option<Operand<'a>>> {
    held.map(|held| held.operand(queue)).transpose()
}

/// Of an operand that may be missing.
pub(crate) fn at(operand: Option<&Operand<'_>>) -> Argument<'static> {
    operand.map_or(Argument::At(0), Operand::at)
}

/// Blocks for `columns` x `rows` threads, along x and y, each thread one column and as many rows as need be.
pub(crate) fn tiles(columns: usize, rows: usize) -> ((u32, u32), (u32, u32)) {
    // A warp reads 32 neighbours; few columns leave room for more rows in a block.
    let across = columns.clamp(1, 32).next_power_of_two();
    let down = 256 / across;
    let blocks = |n: usize, size: usize, most: usize| n.div_ceil(size).clamp(1, most) as u32;
    (
        (
            blocks(columns, across, u32::MAX as usize >> 1),
            blocks(rows, down, 65_535),
        ),
        (across as u32, down as u32),
    )
}

/// Blocks of four warps, a warp a row.
pub(crate) fn warps(rows: usize) -> ((u32, u32), (u32, u32)) {
    ((rows.div_ceil(4).max(1) as u32, 1), (32, 4))
}

/// For a sum over each row of `n` elements: a block a row where rows are long, so that a single one keeps more than a warp of the device
/// busy. By `n` alone: a row's sums do not depend on how many others there are.
pub(crate) fn row_sums(rows: usize, n: usize) -> ((u32, u32), (u32, u32)) {
    match n {
        0..1024 => warps(rows),
        _ => ((rows.max(1) as u32, 1), (256, 1)),
    }
}
