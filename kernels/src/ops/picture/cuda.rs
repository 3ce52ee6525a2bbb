use candle_core::cuda_backend::CudaStorage;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, DType, Device, Result, Storage, Tensor};

use super::{ByteMix, ByteResize, CHANNELS, Levels, Normal, Picture, PixelOrder};
use crate::cuda::launch::{Argument, Operand, PICTURE, Queue, tiles};
use crate::ops::mix::Mix;

pub(super) fn takes(picture: &Picture<'_>, shape: &[usize], dtype: DType) -> bool {
    let counted = |n: usize| i32::try_from(n).is_ok();
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
        && counted(picture.bytes.len())
        && counted(shape.iter().product())
}

/// Words for the device, in one copy, and where parts of them begin.
#[derive(Default)]
struct Table(Vec<u32>);

impl Table {
    /// Where `words` begin.
    fn add(&mut self, words: impl IntoIterator<Item = u32>) -> usize {
        let at = self.0.len();
        self.0.extend(words);
        at
    }

    /// The same; all before must be f64 too, for they lie at multiples of 8 bytes.
    fn add_f64(&mut self, values: impl IntoIterator<Item = f64>) -> usize {
        let words = |value: f64| [value.to_bits() as u32, (value.to_bits() >> 32) as u32];
        self.add(values.into_iter().flat_map(words))
    }

    /// Cells and weights of an axis.
    fn add_mix(&mut self, ByteMix { mix, bits }: &ByteMix) -> Axis {
        let (table, weights) = mix.table(0);
        Axis {
            table: self.add(table),
            weights: self.add(weights.iter().map(|w| *w as u32)),
            bits: *bits,
        }
    }

    fn upload(self, device: &CudaDevice) -> Result<CudaStorage> {
        Ok(CudaStorage::wrap_cuda_slice(
            device.clone_htod(&self.0)?,
            device.clone(),
        ))
    }
}

/// Where an axis begins in a [`Table`].
struct Axis {
    table: usize,
    weights: usize,
    bits: u32,
}

/// A part of an uploaded [`Table`].
fn part(table: &Operand<'_>, first: usize) -> Argument<'static> {
    Argument::At(table.address() + (first * size_of::<u32>()) as u64)
}

fn uploaded(picture: &Picture<'_>, device: &CudaDevice) -> Result<CudaStorage> {
    Ok(CudaStorage::wrap_cuda_slice(
        device.clone_htod(picture.bytes)?,
        device.clone(),
    ))
}

fn tensor(storage: CudaStorage, shape: Vec<usize>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Which way a pass mixes, as `cu/picture.cu` has it.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Neither = 0,
    Rows = 1,
    Columns = 2,
}

/// By `cu/picture.cu`: all passes but the last from bytes to bytes, the last one to the network's input.
pub(super) fn byte_pixels(
    picture: &Picture<'_>,
    resize: &ByteResize,
    levels: &Levels,
    order: PixelOrder,
    shape: Vec<usize>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let device = device.as_cuda_device()?;
    let mut table = Table::default();
    let across = resize
        .columns
        .as_ref()
        .map(|mix| (Along::Rows, table.add_mix(mix)));
    let down = resize
        .rows
        .as_ref()
        .map(|mix| (Along::Columns, table.add_mix(mix)));
    let levels = table.add(levels.iter().flatten().map(|v| v.to_bits()));
    let mut passes: Vec<_> = across.into_iter().chain(down).collect();
    if resize.rows_first {
        passes.reverse();
    }
    let last = passes.pop();
    let (width, height) = resize.size(picture);
    let (table, mut bytes) = (table.upload(device)?, uploaded(picture, device)?);
    let (words, lines) = (Queue::of(&table), Queue::of(&bytes));
    let table = words.reads_from(&table, 0)?;
    let mut columns = picture.width;
    for (along, axis) in passes {
        let rows = picture.height;
        let (outer, from, to, inner) = match along {
            Along::Columns => (1, rows, height, columns * CHANNELS),
            _ => (rows, columns, width, CHANNELS),
        };
        let mut passed = lines.output(outer * to * inner)?;
        {
            let (x, y) = (lines.reads_from(&bytes, 0)?, lines.writes(&mut passed)?);
            let mut arguments = vec![
                x.at(),
                part(&table, axis.table),
                part(&table, axis.weights),
                y.at(),
            ];
            for n in [axis.bits as usize, outer, from, to, inner] {
                arguments.push(Argument::size(n)?);
            }
            lines.launch(&PICTURE, "resize_bytes", tiles(to * inner, outer), &arguments)?;
        }
        bytes = passed;
        if along == Along::Rows {
            columns = width;
        }
    }
    let n = shape.iter().product();
    let values = Queue::of(&bytes).with_type(dtype);
    let mut out = values.output(n)?;
    {
        let (x, y) = (lines.reads_from(&bytes, 0)?, values.writes(&mut out)?);
        let none = (
            Along::Neither,
            Axis {
                table: 0,
                weights: 0,
                bits: 1,
            },
        );
        let (along, axis) = last.unwrap_or(none);
        let mut arguments = vec![
            x.at(),
            part(&table, axis.table),
            part(&table, axis.weights),
            part(&table, levels),
            y.at(),
        ];
        let pass = [axis.bits as usize, along as usize, columns, width, height];
        let (kernel, order, threads) = match order {
            PixelOrder::Planes { height, width } => (
                "picture_planes",
                vec![height, width],
                tiles(width, CHANNELS * height),
            ),
            PixelOrder::Patches { side, merge, frames } => (
                "picture_patches",
                vec![side, merge, frames],
                (((n / frames).div_ceil(256) as u32, 1), (256, 1)),
            ),
        };
        for n in pass.into_iter().chain(order) {
            arguments.push(Argument::size(n)?);
        }
        values.launch(&PICTURE, kernel, threads, &arguments)?;
    }
    Ok(tensor(out, shape))
}

/// By `cu/picture.cu`.
pub(super) fn float_pixels(
    picture: &Picture<'_>,
    columns: &Mix<f64>,
    rows: &Mix<f64>,
    normal: &Normal,
    shape: Vec<usize>,
    device: &Device,
) -> Result<Tensor> {
    let device = device.as_cuda_device()?;
    let mut table = Table::default();
    let weights = table.add_f64(columns.weights().iter().chain(rows.weights()).copied());
    let levels = table.add_f64((0..=255u8).map(|v| f64::from(v) / 255.0));
    let normal = table.add_f64(normal.mean.into_iter().chain(normal.deviation));
    let across = table.add(columns.table(0).0);
    let down = table.add(rows.table(columns.weights().len()).0);
    let (table, bytes) = (table.upload(device)?, uploaded(picture, device)?);
    let (words, lines) = (Queue::of(&table), Queue::of(&bytes));
    let values = Queue::of(&bytes).with_type(DType::F32);
    let mut out = values.output(shape.iter().product())?;
    {
        let table = words.reads_from(&table, 0)?;
        let (x, y) = (lines.reads_from(&bytes, 0)?, values.writes(&mut out)?);
        let mut arguments = vec![x.at()];
        arguments.extend([across, down, weights, levels, normal].map(|at| part(&table, at)));
        arguments.push(y.at());
        for n in [picture.width, columns.len(), rows.len()] {
            arguments.push(Argument::size(n)?);
        }
        let threads = tiles(columns.len(), CHANNELS * rows.len());
        values.launch(&PICTURE, "picture_floats", threads, &arguments)?;
    }
    Ok(tensor(out, shape))
}
