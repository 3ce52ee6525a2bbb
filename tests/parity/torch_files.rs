//! Files of `torch.save` against the same tensors as safetensors, whole and damaged.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use dragunov_models::ModelError;
use dragunov_models::checkpoint::{Alias, Checkpoint};

use crate::compare::{Stages, fixture, tolerance};
use crate::golden::Golden;

/// All tensors of a file, in f64, which holds every value of these exactly.
fn read(path: &Path) -> Result<HashMap<String, Tensor>, ModelError> {
    let checkpoint = Checkpoint::open(path)?;
    let names = checkpoint.stored_tensors()?;
    let layout = |key: &str, _: &[usize]| Alias::whole(key);
    checkpoint.load(&layout, DType::F64, &Device::Cpu, |vb| {
        names
            .iter()
            .map(|(name, shape)| Ok((name.clone(), vb.get(shape.as_slice(), name)?)))
            .collect()
    })
}

#[test]
fn tensors_are_those_that_were_saved() {
    let golden = Golden::open("torch/weights.safetensors");
    let names = golden.names("");
    for file in ["weights.pth", "protocol4.pth", "wrapped.pth"] {
        let got = read(&fixture("torch").join(file)).unwrap();
        assert_eq!(got.len(), names.len(), "{file}");
        let mut stages = Stages::default();
        for name in &names {
            let want = golden.whole(name).to_dtype(DType::F64).unwrap().into();
            stages.check(format!("{file}: {name}"), &got[*name], &want, tolerance::EXACT);
        }
        stages.finish();
    }
}

#[test]
fn what_is_no_state_dict_says_what_to_do() {
    for (file, says) in [("legacy.pth", "PyTorch 1.6"), ("module.pth", "state_dict()")] {
        let refused = read(&fixture("torch").join(file)).unwrap_err();
        assert!(matches!(refused, ModelError::TorchFile { .. }), "{refused:?}");
        let message = refused.to_string();
        assert!(message.contains(file) && message.contains(says), "{message}");
    }
}

/// Whatever becomes of the file, there is an error or there are tensors.
#[test]
fn damaged_files_never_panic() {
    let whole = std::fs::read(fixture("torch/weights.pth")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.pth");
    let attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    };
    for length in (0..whole.len()).step_by(7) {
        let refused = attempt(&whole[..length]).unwrap_err();
        assert!(
            matches!(refused, ModelError::TorchFile { .. } | ModelError::Io { .. }),
            "{length} bytes: {refused:?}"
        );
    }
    let mut refused = 0;
    for place in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] ^= flip;
            refused += usize::from(attempt(&bytes).is_err());
        }
    }
    assert!(refused > 1000, "only {refused} damages were noticed");
}

#[test]
fn one_of_several_files_has_to_be_named() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.pth", "b.pth"] {
        std::fs::copy(fixture("torch/weights.pth"), dir.path().join(name)).unwrap();
    }
    let refused = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("a.pth, b.pth"), "{refused}");
    std::fs::remove_file(dir.path().join("b.pth")).unwrap();
    assert!(read(dir.path()).is_ok());
    let empty = tempfile::tempdir().unwrap();
    let refused = Checkpoint::open(empty.path()).unwrap_err().to_string();
    assert!(refused.contains("config.json"), "{refused}");
}
