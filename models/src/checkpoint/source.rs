//! Whatever answers a model's requests for tensors, behind candle's `VarBuilder`.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;

/// Gives a model its tensors by name.
pub trait TensorSource: Send + Sync {
    /// `shape` is what the model expects; `None`: whatever there is.
    ///
    /// # Errors
    /// No such tensor, or one of another shape.
    fn tensor(&self, name: &str, shape: Option<&Shape>, dtype: DType, device: &Device) -> Result<Tensor>;

    fn has(&self, name: &str) -> bool;
}

/// A `VarBuilder` that asks `source`.
pub fn builder(source: impl TensorSource + 'static, dtype: DType, device: &Device) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(Serve(source)), dtype, device.clone())
}

struct Serve<S>(S);

impl<S: TensorSource> SimpleBackend for Serve<S> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        self.0.tensor(name, Some(&shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.0.tensor(name, None, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.has(name)
    }
}
