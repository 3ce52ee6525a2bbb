//! Errors of a GPU by the driver's code: what may be tried again, and what no call recovers from.

/// What an error says about the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No room for an allocation; smaller work may fit.
    OutOfMemory,
    /// The driver's context is broken: every later call of this process fails too, and a new context does not help.
    Lost,
}

/// The fault of the device behind an error of a forward pass; none for errors of shapes, types and the like.
pub fn of(error: &candle_core::Error) -> Option<Fault> {
    use candle_core::Error as E;
    match error {
        E::WithBacktrace { inner, .. } | E::Context { inner, .. } | E::WithPath { inner, .. } => of(inner),
        E::Cuda(inner) => driver::of(inner.as_ref()),
        // candle hides the driver's code where the host waits for the device, and keeps its name in the text.
        E::Wrapped(inner) => of_text(&inner.to_string()),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<Fault> {
    let (_, name) = text.split_once("DriverError(CUDA_ERROR_")?;
    Some(if name.starts_with("OUT_OF_MEMORY") {
        Fault::OutOfMemory
    } else {
        Fault::Lost
    })
}

/// By the number of `cudaError_enum`: NVIDIA's notes on each say which leave the context usable.
#[cfg(any(feature = "cuda", test))]
fn of_code(code: u32) -> Option<Fault> {
    match code {
        2 => Some(Fault::OutOfMemory),
        // Wrong arguments, images, names and launch sizes, calls not supported, captures: of the caller's making.
        1 | 200 | 209 | 218 | 222 | 500 | 600 | 701 | 720 | 801 | 900..=909 => None,
        _ => Some(Fault::Lost),
    }
}

#[cfg(feature = "cuda")]
mod driver {
    use std::error::Error;

    use candle_core::cuda_backend::CudaError;
    use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t as Blas;

    use super::{Fault, of_code};

    pub(super) fn of(error: &(dyn Error + Send + Sync + 'static)) -> Option<Fault> {
        match error.downcast_ref::<CudaError>()? {
            CudaError::Cuda(driver) | CudaError::Load { cuda: driver, .. } => of_code(driver.0 as u32),
            CudaError::Cublas(blas) => match blas.0 {
                Blas::CUBLAS_STATUS_ALLOC_FAILED => Some(Fault::OutOfMemory),
                Blas::CUBLAS_STATUS_MAPPING_ERROR
                | Blas::CUBLAS_STATUS_EXECUTION_FAILED
                | Blas::CUBLAS_STATUS_INTERNAL_ERROR => Some(Fault::Lost),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod driver {
    use super::Fault;

    pub(super) fn of(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<Fault> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_driver() {
        for broken in [46, 214, 220, 700, 702, 716, 719, 999] {
            assert_eq!(of_code(broken), Some(Fault::Lost), "{broken}");
        }
        for harmless in [1, 209, 222, 701, 801, 905] {
            assert_eq!(of_code(harmless), None, "{harmless}");
        }
        assert_eq!(of_code(2), Some(Fault::OutOfMemory));
    }

    #[test]
    fn a_code_in_the_text_of_a_wrapped_error_counts() {
        let wrapped = |text: &str| candle_core::Error::wrap(text.to_owned()).context("while waiting");
        let lost = wrapped("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access\")");
        assert_eq!(of(&lost), Some(Fault::Lost));
        let full = wrapped("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
        assert_eq!(of(&full), Some(Fault::OutOfMemory));
        assert_eq!(of(&candle_core::Error::msg("shape mismatch")), None);
    }
}
