//! The one error type of this crate: what is wrong, in which file, at which key.

use std::path::PathBuf;

use crate::device::fault::{self, Fault};

/// Why a checkpoint, an image or a prompt was refused, or a forward pass failed.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is not valid JSON for this model: {source}")]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// A config that parses but cannot be built (zero sizes, head count that does not divide, ...).
    #[error("{path}: {field} = {value}: {reason}")]
    Config {
        path: PathBuf,
        field: &'static str,
        value: String,
        reason: String,
    },
    #[error("{path}: damaged safetensors file: {reason}")]
    Safetensors { path: PathBuf, reason: String },
    /// A file of `torch.save` (`.pth`) that cannot be read.
    #[error("{path}: cannot be read as PyTorch weights: {reason}")]
    TorchFile { path: PathBuf, reason: String },
    #[error("{path}: tensor {key} is of type {found}, which is not supported")]
    TensorType {
        path: PathBuf,
        key: String,
        found: String,
    },
    #[error("{path}: tensor {key} is missing (expected shape {expected:?})")]
    MissingTensor {
        path: PathBuf,
        key: String,
        expected: Vec<usize>,
    },
    #[error("{path}: tensor {key} has shape {found:?}, expected {expected:?}")]
    TensorShape {
        path: PathBuf,
        key: String,
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    /// A tensor that nothing asked for, and how many more there are.
    #[error("{path}: the model does not know tensor {key} of shape {found:?}{}", and_more(*more))]
    UnexpectedTensors {
        path: PathBuf,
        key: String,
        found: Vec<usize>,
        more: usize,
    },
    /// Two stored tensors that differ stand for one of the model's.
    #[error("{path}: {} and {} both stand for {name}, and they differ", keys[0], keys[1])]
    AmbiguousTensor {
        path: PathBuf,
        name: String,
        keys: [String; 2],
    },
    #[error("{path}: tokenizer: {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    #[error("image of {width} x {height} pixels: {reason}")]
    Image {
        width: usize,
        height: usize,
        reason: String,
    },
    #[error("prompt: {0}")]
    Prompt(String),
    /// A precision that the model is known to compute wrongly in.
    #[error("{model} does not run in {dtype:?}: {reason}")]
    Precision {
        model: &'static str,
        dtype: candle_core::DType,
        reason: &'static str,
    },
    #[error("device: {0}")]
    Device(String),
    /// The caller asked to stop (deadline, cancelled job).
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}

impl ModelError {
    /// What it says about the device it happened on, if it does.
    pub fn device_fault(&self) -> Option<Fault> {
        match self {
            Self::Compute(error) => fault::of(error),
            _ => None,
        }
    }
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        n => format!(" and {n} more"),
    }
}
