//! Flags that pick the models, shared by every command that scans.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use dragunov_models::device::DeviceChoice;
use dragunov_models::nn::Products;

use super::food_args::FoodArgs;
use crate::contract::ScanError;
use crate::food_store::FoodStore;
use crate::identify::openai::{OpenAi, OpenAiConfig};
use crate::identify::{Identifier, Novelty};
use crate::pipeline::{Calibration, ModelSet, Scanner, ScannerConfig, Strategy};
use crate::runtime::{Engine, EngineFactory};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct ModelArgs {
    /// Checkpoint set by name, or a folder with `sam`, `depth` and `vlm` in the Hugging Face layout.
    #[arg(
        long,
        value_name = "SET|DIR",
        env = "DRAGUNOV_MODELS",
        default_value = "plate-tiny"
    )]
    pub(super) models: String,
    /// How far the set's networks are off, in place of the `calibration.toml` in its folder; `dragunov eval --calibrate` writes
    /// one.
    #[arg(long, env = "DRAGUNOV_CALIBRATION", value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// `cpu` or `cuda:N`.
    #[arg(long, env = "DRAGUNOV_DEVICE", default_value = "cpu")]
    pub(super) device: DeviceChoice,
    /// Numbers that the models compute with [default: bf16 on a GPU, f32 on the CPU].
    #[arg(long, env = "DRAGUNOV_DTYPE", value_enum)]
    dtype: Option<Numbers>,
    /// How the CPU multiplies f32; all but f32 need Intel AMX.
    #[arg(long, env = "DRAGUNOV_CPU_PRODUCTS", value_enum, value_name = "HOW")]
    cpu_products: Option<CpuProducts>,
    /// How food is found [default: hybrid where the vision model gives boxes, automatic otherwise].
    #[arg(long, env = "DRAGUNOV_STRATEGY", value_enum)]
    strategy: Option<Strategy>,
    /// Name food by an OpenAI-compatible vision API at this base URL instead of the set's own model.
    #[arg(long, env = "DRAGUNOV_VLM_URL", value_name = "URL")]
    vlm_url: Option<String>,
    /// Key of that API.
    #[arg(long, env = "DRAGUNOV_VLM_KEY", hide_env_values = true, value_name = "KEY")]
    vlm_key: Option<secrecy::SecretString>,
    /// Model of that API.
    #[arg(
        long,
        env = "DRAGUNOV_VLM_MODEL",
        default_value = "gpt-4o",
        value_name = "NAME"
    )]
    vlm_model: String,
    #[command(flatten)]
    pub(super) foods: FoodArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Numbers {
    F32,
    Bf16,
}

impl Numbers {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CpuProducts {
    /// As they are.
    F32,
    /// Each as two numbers of bf16: fastest, within 2^-15 of each product.
    #[value(name = "bf16x3")]
    Bf16x3,
    /// Each as three: as exact as f32.
    #[value(name = "bf16x6")]
    Bf16x6,
}

impl CpuProducts {
    fn products(self) -> Products {
        match self {
            Self::F32 => Products::F32,
            Self::Bf16x3 => Products::Bf16x3,
            Self::Bf16x6 => Products::Bf16x6,
        }
    }
}

impl ModelArgs {
    /// # Errors
    /// What is wrong with the set, the device or the vision API's address.
    pub(super) fn scanner(&self, foods: FoodStore) -> Result<Scanner, ScanError> {
        self.scanner_with(foods, |_| ())
    }

    /// The same with the set's usual settings changed.
    ///
    /// # Errors
    /// As [`Self::scanner`].
    pub(super) fn scanner_with(
        &self,
        foods: FoodStore,
        change: impl FnOnce(&mut ScannerConfig),
    ) -> Result<Scanner, ScanError> {
        let set = self.set()?;
        let mut config = ScannerConfig {
            strategy: self.strategy,
            dtype: self.dtype.map(Numbers::dtype),
            products: self.cpu_products.map(CpuProducts::products),
            foods,
            ..ScannerConfig::for_set(&set)
        };
        change(&mut config);
        Scanner::load(&set, self.device, config, self.identifier()?)
    }

    fn set(&self) -> Result<ModelSet, ScanError> {
        let mut set = ModelSet::find(&self.models)?;
        if let Some(path) = &self.calibration {
            set.calibration = Some(Calibration::read(path)?);
            set.novelty = Novelty::beside(path.parent().unwrap_or(Path::new("")))?;
        }
        Ok(set)
    }

    /// Opens what [`Self::scanner`] would load, without loading it.
    ///
    /// # Errors
    /// As [`Self::scanner`], but for what only the weights can tell.
    pub(super) fn check(&self) -> Result<String, ScanError> {
        let set = self.set()?;
        self.device.open()?;
        self.identifier()?;
        Ok(set.name)
    }

    /// Loads the models on the thread that will own them.
    pub(super) fn factory(&self, foods: FoodStore) -> EngineFactory {
        let args = self.clone();
        Arc::new(move || Ok(Box::new(args.scanner(foods.clone())?) as Box<dyn Engine>))
    }

    fn identifier(&self) -> Result<Option<Box<dyn Identifier>>, ScanError> {
        let Some(url) = self.vlm_url.as_deref().filter(|u| !u.is_empty()) else {
            return Ok(None);
        };
        let config = OpenAiConfig::new(url, self.vlm_key.clone(), &self.vlm_model)?;
        Ok(Some(Box::new(OpenAi::new(config))))
    }
}
