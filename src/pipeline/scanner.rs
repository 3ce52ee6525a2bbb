//! All models of a set, loaded on one device.

use candle_core::{DType, Device};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::depth_anything::DepthAnything;
use dragunov_models::device::DeviceChoice;
use dragunov_models::device::memory::{self, DeviceMemory};
use dragunov_models::nn::Products;
use dragunov_models::qwen_vl::QwenVl;
use dragunov_models::sam::Sam;
use sha2::{Digest, Sha256};

use super::model_set::LABELS_FILE;
use super::{ModelSet, ScannerConfig, Strategy};
use crate::contract::result::Models;
use crate::contract::{ErrorCode, ScanError};
use crate::food_store::Snapshot;
use crate::identify::Identifier;
use crate::identify::native::NativeIdentifier;

/// All models of a set, loaded.
pub struct Scanner {
    pub(super) names: Models,
    pub(super) dtype: DType,
    pub(super) device: DeviceChoice,
    /// What SAM and the vision-language model are on; depth has a queue of its own.
    pub(super) on: Device,
    pub(super) overlap: bool,
    pub(super) weights_bytes: u64,
    pub(super) sam: Sam,
    pub(super) depth: DepthAnything,
    pub(super) identifier: Option<Box<dyn Identifier>>,
    pub(super) strategy: Strategy,
    /// Revision of the food table whose names the identifier may answer; none if it has a list of its own.
    vocabulary: Option<String>,
    pub(super) config: ScannerConfig,
    pub(super) set: ModelSet,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner")
            .field("names", &self.names)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// Loads a set. `identifier` replaces the set's own vision-language model.
    ///
    /// # Errors
    /// `device_unavailable` if CUDA was asked for in vain; `checkpoint_invalid` with file, key and shape; `config_invalid` for
    /// a strategy of boxes with an identifier that gives none.
    pub fn load(
        set: &ModelSet,
        device: DeviceChoice,
        config: ScannerConfig,
        identifier: Option<Box<dyn Identifier>>,
    ) -> Result<Self, ScanError> {
        let on = device.open()?;
        let usual = if on.is_cuda() { DType::BF16 } else { DType::F32 };
        let dtype = config.dtype.unwrap_or(usual);
        let arithmetic = arithmetic(&on, dtype, config.products)?;
        let own_vlm = identifier.is_none().then_some(set.vlm.as_ref()).flatten();
        let parameters = stored_parameters([Some(&set.sam), Some(&set.depth), own_vlm])?;
        let weights_bytes = (parameters * dtype.size_in_bytes()) as u64;
        if let Some(memory) = memory::of(&on) {
            check_room(weights_bytes, memory)?;
        }
        let foods = config.foods.current();
        let identifier = match (identifier, own_vlm) {
            (None, Some(checkpoint)) => {
                let model = QwenVl::load(checkpoint, dtype, &on)?;
                let name = format!("{} (Qwen2.5-VL)", set.name);
                let native = NativeIdentifier::new(model, name, set.labels(&foods.table)?, set.grounds())
                    .with_novelty(set.novelty.clone());
                Some(Box::new(native) as Box<dyn Identifier>)
            }
            (Some(mut other), _) => {
                other.set_foods(foods.names());
                Some(other)
            }
            (None, None) => None,
        };
        let strategy = strategy(config.strategy, identifier.as_deref())?;
        let names = Models {
            set: set.name.clone(),
            sam: format!("{} (Segment Anything)", set.name),
            depth: format!("{} (Depth Anything V2)", set.name),
            identify: identifier.as_ref().map_or_else(|| "none".into(), |i| i.name()),
            arithmetic,
        };
        let sam = Sam::load(&set.sam, dtype, &on)?;
        let depth = DepthAnything::load(&set.depth, dtype, &device.open_beside()?)?;
        Ok(Self {
            names,
            dtype,
            device,
            overlap: config.overlap.unwrap_or(on.is_cuda()),
            on,
            weights_bytes,
            sam,
            depth,
            identifier,
            strategy,
            vocabulary: own_vlm
                .is_none_or(|vlm| !vlm.has(LABELS_FILE))
                .then_some(foods.info.revision),
            config,
            set: set.clone(),
        })
    }

    /// The food table of now, whose names the identifier knows.
    pub(super) fn foods(&mut self) -> Snapshot {
        let foods = self.config.foods.current();
        if let (Some(revision), Some(identifier)) = (&mut self.vocabulary, &mut self.identifier)
            && *revision != foods.info.revision
        {
            identifier.set_foods(foods.names());
            revision.clone_from(&foods.info.revision);
        }
        foods
    }

    /// How food is found and who names it, in words.
    pub fn finds(&self) -> String {
        let who = &self.names.identify;
        match self.strategy {
            Strategy::Automatic => format!("automatic masks, named by {who}"),
            Strategy::Grounded => format!("boxes of {who}"),
            Strategy::Hybrid => format!("boxes of {who}, and what they left out"),
        }
    }

    /// Who names the food.
    pub(crate) fn identifier(&mut self) -> Option<&mut dyn Identifier> {
        self.identifier.as_deref_mut().map(|i| i as &mut dyn Identifier)
    }

    pub fn config(&self) -> &ScannerConfig {
        &self.config
    }

    pub fn set(&self) -> &ModelSet {
        &self.set
    }

    /// What [`Self::network_outputs`] depend on beside the photo, as a SHA-256 in hex: the set's weights, the search's settings,
    /// who names the food, the numbers' type and this version. Reads all weights.
    ///
    /// # Errors
    /// `checkpoint_invalid` if a file of the set cannot be read.
    pub fn outputs_fingerprint(&self) -> Result<String, ScanError> {
        let settings = format!(
            "{:?} {:?} {:?} {} {} {} {}",
            self.strategy,
            self.config.amg,
            self.config.search,
            self.config.max_side_px,
            self.names.identify,
            self.names.arithmetic,
            env!("CARGO_PKG_VERSION"),
        );
        let mut hash = Sha256::new();
        hash.update(self.set.fingerprint()?);
        hash.update(settings);
        if let Some(novelty) = &self.set.novelty {
            hash.update(novelty.fingerprint());
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }
}

/// What products are computed in.
///
/// # Errors
/// `config_invalid` where the CPU cannot multiply as `products` says.
fn arithmetic(on: &Device, dtype: DType, products: Option<Products>) -> Result<String, ScanError> {
    if on.is_cuda() {
        return Ok(format!("{dtype:?}").to_lowercase());
    }
    // Also where weights are bf16: a choice that cannot be is refused before they are loaded.
    let chosen = match products {
        Some(_) => Products::choose(products).map_err(|why| {
            ScanError::new(ErrorCode::ConfigInvalid, format!("--cpu-products: {why}"))
                .next_step("leave --cpu-products out: the machine's own way is taken then")
        })?,
        None => Products::current(),
    };
    Ok(match dtype {
        DType::F32 => chosen.to_string(),
        other => format!("{other:?}").to_lowercase(),
    })
}

/// Number of weights in all of these.
fn stored_parameters(checkpoints: [Option<&Checkpoint>; 3]) -> Result<usize, ScanError> {
    let mut sum = 0;
    for checkpoint in checkpoints.into_iter().flatten() {
        let tensors = checkpoint.stored_tensors()?;
        sum += tensors
            .values()
            .map(|shape| shape.iter().product::<usize>())
            .sum::<usize>();
    }
    Ok(sum)
}

/// Beside the weights: scores of one attention and what is computed from them, three times over, and activations.
const WORKING_BYTES: u64 = 4 << 30;
/// Small networks hold less; in proportion to their weights.
const WORKING_PER_WEIGHT: u64 = 8;

/// Refuses a set that the device has no room for, before minutes are spent on loading it.
fn check_room(weights_bytes: u64, memory: DeviceMemory) -> Result<(), ScanError> {
    let needed = weights_bytes + WORKING_BYTES.min(WORKING_PER_WEIGHT * weights_bytes);
    if needed <= memory.free_bytes {
        return Ok(());
    }
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    Err(ScanError::new(
        ErrorCode::ConfigInvalid,
        format!(
            "the models need {:.3} GB on the device; {:.3} of its {:.3} GB are free",
            gigabytes(needed),
            gigabytes(memory.free_bytes),
            gigabytes(memory.total_bytes)
        ),
    )
    .next_step("use a smaller checkpoint set, or a GPU with more memory that nothing else holds"))
}

/// The strategy that was chosen, or the one for what the identifier can do.
fn strategy(chosen: Option<Strategy>, identifier: Option<&dyn Identifier>) -> Result<Strategy, ScanError> {
    let grounds = identifier.is_some_and(|i| i.grounds());
    let strategy = chosen.unwrap_or(Strategy::usual(grounds));
    if grounds || !strategy.grounds() {
        return Ok(strategy);
    }
    let who = identifier.map_or_else(|| "no identifier".into(), |i| i.name());
    Err(ScanError::new(
        ErrorCode::ConfigInvalid,
        format!("the strategies grounded and hybrid need a model that gives boxes; {who} does not"),
    )
    .next_step("use --strategy automatic, or a set with a published Qwen2.5-VL"))
}
