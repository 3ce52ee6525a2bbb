//! `plate-tiny`, the checkpoint set compiled into the binary: the published architectures at tiny sizes.

use crate::checkpoint::Checkpoint;

/// Name of the set in results and on the command line.
pub const PLATE_TINY: &str = "plate-tiny";

type Files = &'static [(&'static str, &'static [u8])];

static SET: &[(&str, Files)] = include!(concat!(env!("OUT_DIR"), "/plate_tiny.rs"));

/// The bundled checkpoint of `sam`, `depth` or `vlm`; `None` if this build carries none.
pub fn checkpoint(model: &str) -> Option<Checkpoint> {
    let (name, files) = SET
        .iter()
        .find(|(name, files)| *name == model && !files.is_empty())?;
    Some(Checkpoint::embedded(name, files))
}

/// The set's `novelty.safetensors`.
pub fn novelty() -> &'static [u8] {
    include_bytes!("../checkpoints/plate-tiny/novelty.safetensors")
}

/// The set's `calibration.toml`.
pub fn calibration() -> &'static str {
    include_str!("../checkpoints/plate-tiny/calibration.toml")
}
