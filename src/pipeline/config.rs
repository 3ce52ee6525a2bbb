//! How a scanner is set up.

use candle_core::DType;
use dragunov_models::nn::Products;
use dragunov_models::sam::AmgConfig;

use super::calibration::NetworkErrors;
use super::{ModelSet, Search, Strategy};
use crate::food_store::FoodStore;
use crate::identify::NameBelief;

/// Photos are measured at this many pixels on the long side at most. Masks of published checkpoints are drawn at 256 x 256
/// cells, so that more pixels show nothing more.
const MAX_SIDE_PX: usize = 1536;

/// What a deployment chooses, and what the checkpoint set asks for.
#[derive(Debug, Clone)]
pub struct ScannerConfig {
    /// None: hybrid where the vision-language model gives boxes, automatic otherwise.
    pub strategy: Option<Strategy>,
    /// Of the set's calibration, as are the next five.
    pub amg: AmgConfig,
    pub search: Search,
    pub errors: NetworkErrors,
    pub names: NameBelief,
    /// The set is for trying the service out.
    pub demonstration: bool,
    /// False where the set came without a calibration.
    pub calibrated: bool,
    /// Photos are measured at this many pixels on the long side at most; masks are returned at the photo's size.
    pub max_side_px: usize,
    /// Let usual portions of the named foods have a say in volumes and scale.
    pub portions: bool,
    /// Estimate depth while regions are found. None: on a GPU, where the two have streams of their own.
    pub overlap: Option<bool>,
    /// Numbers that weights and activations are kept in. None: bf16 on a GPU, f32 on the CPU.
    pub dtype: Option<DType>,
    /// How the CPU multiplies f32; the first scanner decides for the whole process. None: as `DRAGUNOV_CPU_PRODUCTS` says, else
    /// f32.
    pub products: Option<Products>,
    /// Where names, densities and nutrients are looked up; read anew for every scan.
    pub foods: FoodStore,
}

impl ScannerConfig {
    /// The settings of a set's calibration, or the defaults where it has none.
    pub fn for_set(set: &ModelSet) -> Self {
        let calibration = set.calibration.clone().unwrap_or_default();
        Self {
            strategy: None,
            amg: calibration.mask_grid.amg(),
            search: calibration.search,
            errors: calibration.errors,
            names: calibration.names,
            demonstration: calibration.demonstration,
            calibrated: set.calibration.is_some(),
            max_side_px: MAX_SIDE_PX,
            portions: true,
            overlap: None,
            dtype: None,
            products: None,
            foods: FoodStore::builtin(),
        }
    }
}
