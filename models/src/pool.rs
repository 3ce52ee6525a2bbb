//! Where passes of many small steps run on the CPU.

use candle_core::Device;

use crate::mutation;

/// Runs a pass of many parallel steps on a thread of rayon's pool if it computes on the CPU: from outside, each step
/// would wake a thread of the pool and sleep until that wakes this one, which costs as much as a small layer. For other
/// devices the pass stays on this thread.
pub(crate) fn enter<R: Send>(device: &Device, pass: impl FnOnce() -> R + Send) -> R {
    if device.is_cpu() {
        let pass = mutation::carried(pass);
        rayon::scope(|_| pass())
    } else {
        pass()
    }
}
