//! The DPT decoder (Ranftl et al. 2021) of Depth Anything: reassemble, fuse from coarse to fine, regress depth.

use candle_core::{DType, Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;

use super::config::{Config, Kind, Reassemble};
use crate::nn::{Activation, Conv2d, Conv2dConfig, ConvTranspose2d, add, relu, upsample_bilinear};
use crate::observer::{Observer, Stage};
use crate::{ModelError, Result};

const SAME: Conv2dConfig = Conv2dConfig {
    stride: 1,
    padding: 1,
    groups: 1,
};
const POINTWISE: Conv2dConfig = Conv2dConfig {
    stride: 1,
    padding: 0,
    groups: 1,
};

#[derive(Debug)]
pub(super) struct Decoder {
    levels: Vec<Level>,
    /// Coarsest first.
    fusions: Vec<Fusion>,
    head: Head,
    head_index: usize,
}

impl Decoder {
    pub(super) fn load(config: &Config, vb: VarBuilder<'_>) -> Candle<Self> {
        let neck = vb.pp("neck");
        let levels = config.neck.iter().zip(&config.reassemble).enumerate();
        let levels = levels.map(|(k, (&channels, &how))| {
            let width = config.backbone.hidden_size;
            let stage = neck.pp("reassemble_stage.layers").pp(k);
            let to_fusion = neck.pp("convs").pp(k);
            Ok(Level {
                projection: Conv2d::load(width, channels, 1, POINTWISE, true, stage.pp("projection"))?,
                resize: Resize::load(channels, how, stage.pp("resize"))?,
                to_fusion: Conv2d::load(channels, config.fusion_size, 3, SAME, false, to_fusion)?,
            })
        });
        let levels = levels.collect::<Candle<Vec<_>>>()?;
        let fusion = |k| {
            let vb = neck.pp("fusion_stage.layers").pp(k);
            Fusion::load(config.fusion_size, k > 0, vb)
        };
        Ok(Self {
            fusions: (0..levels.len()).map(fusion).collect::<Candle<_>>()?,
            levels,
            head: Head::load(config, vb.pp("head"))?,
            head_index: config.head_index,
        })
    }

    /// Taps (B, rows x columns, C) to depth (B, rows x patch, columns x patch), in f32.
    pub(super) fn forward(
        &self,
        taps: &[Tensor],
        (rows, columns): (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let mut maps = Vec::with_capacity(taps.len());
        for (k, (tap, level)) in taps.iter().zip(&self.levels).enumerate() {
            let (batch, _, width) = tap.dims3()?;
            let map = tap.to_dtype(DType::F32)?.reshape((batch, rows, columns, width))?;
            let map = level
                .resize
                .forward(&level.projection.forward(&map.permute((0, 3, 1, 2))?)?)?;
            let map = observer.stage(Stage::nth("reassemble", k), map)?;
            maps.push(observer.stage(Stage::nth("rn", k), level.to_fusion.forward(&map)?)?);
        }
        let mut fused: Option<Tensor> = None;
        // The head takes one of the fused maps, the last in every published model; later ones need not be made.
        for (k, fusion) in self.fusions.iter().enumerate().take(self.head_index + 1) {
            let level = maps.len() - 1 - k;
            let target = match level.checked_sub(1) {
                Some(finer) => {
                    let (_, _, h, w) = maps[finer].dims4()?;
                    Some((h, w))
                }
                None => None,
            };
            let out = match fused {
                None => fusion.forward(&maps[level], None, target, k, observer)?,
                Some(coarser) => fusion.forward(&coarser, Some(&maps[level]), target, k, observer)?,
            };
            fused = Some(out);
        }
        match fused {
            Some(map) => self.head.forward(&map, (rows, columns), observer),
            // `Config` refuses one.
            None => Err(ModelError::Compute(candle_core::Error::Msg(
                "a decoder without levels".into(),
            ))),
        }
    }
}

/// What happens to one tap before fusion.
#[derive(Debug)]
struct Level {
    projection: Conv2d,
    resize: Resize,
    to_fusion: Conv2d,
}

#[derive(Debug)]
enum Resize {
    Up(ConvTranspose2d),
    Keep,
    Down(Conv2d),
}

impl Resize {
    fn load(channels: usize, how: Reassemble, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(match how {
            Reassemble::Up(factor) => Self::Up(ConvTranspose2d::load(channels, channels, factor, vb)?),
            Reassemble::Keep => Self::Keep,
            Reassemble::Down(stride) => Self::Down(Conv2d::load(
                channels,
                channels,
                3,
                Conv2dConfig { stride, ..SAME },
                true,
                vb,
            )?),
        })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        match self {
            Self::Up(layer) => layer.forward(x),
            Self::Keep => Ok(x.clone()),
            Self::Down(layer) => layer.forward(x),
        }
    }
}

/// `conv2(relu(conv1(relu(x)))) + x`.
#[derive(Debug)]
struct Residual {
    conv1: Conv2d,
    conv2: Conv2d,
}

impl Residual {
    fn load(channels: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            conv1: Conv2d::load(channels, channels, 3, SAME, true, vb.pp("convolution1"))?,
            conv2: Conv2d::load(channels, channels, 3, SAME, true, vb.pp("convolution2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        let y = self.conv1.forward_activated(&relu(x)?, Activation::Relu)?;
        self.conv2.forward_onto(&y, x)
    }
}

/// Adds a finer map, refines, upsamples to the next level (align_corners) and projects.
#[derive(Debug)]
struct Fusion {
    /// Absent in the coarsest, which has nothing to add.
    residual1: Option<Residual>,
    residual2: Residual,
    projection: Conv2d,
}

impl Fusion {
    fn load(channels: usize, adds: bool, vb: VarBuilder<'_>) -> Candle<Self> {
        let residual1 = adds.then(|| Residual::load(channels, vb.pp("residual_layer1")));
        Ok(Self {
            residual1: residual1.transpose()?,
            residual2: Residual::load(channels, vb.pp("residual_layer2"))?,
            projection: Conv2d::load(channels, channels, 1, POINTWISE, true, vb.pp("projection"))?,
        })
    }

    /// `target` is the (height, width) of the next level; twice its own size where there is none.
    fn forward(
        &self,
        x: &Tensor,
        finer: Option<&Tensor>,
        target: Option<(usize, usize)>,
        index: usize,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let x = match (finer, &self.residual1) {
            (Some(finer), Some(residual)) => add(x, &residual.forward(finer)?)?,
            _ => x.clone(),
        };
        let x = observer.stage(
            Stage::inside("fusion", index, "fused"),
            self.residual2.forward(&x)?,
        )?;
        let (_, _, height, width) = x.dims4()?;
        let (height, width) = target.unwrap_or((2 * height, 2 * width));
        let x = observer.stage(
            Stage::inside("fusion", index, "up"),
            upsample_bilinear(&x, height, width, true)?,
        )?;
        observer.stage(Stage::nth("fusion", index), self.projection.forward(&x)?)
    }
}

/// Three convolutions, with an upsampling to the input's size after the first.
#[derive(Debug)]
struct Head {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    patch: usize,
    kind: Kind,
    max_depth: f64,
}

impl Head {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Candle<Self> {
        let (wide, hidden) = (config.fusion_size, config.head_hidden_size);
        Ok(Self {
            conv1: Conv2d::load(wide, wide / 2, 3, SAME, true, vb.pp("conv1"))?,
            conv2: Conv2d::load(wide / 2, hidden, 3, SAME, true, vb.pp("conv2"))?,
            conv3: Conv2d::load(hidden, 1, 1, POINTWISE, true, vb.pp("conv3"))?,
            patch: config.backbone.patch_size,
            kind: config.kind,
            max_depth: config.max_depth,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        (rows, columns): (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let x = observer.stage(Stage::of("head.conv1"), self.conv1.forward(x)?)?;
        let up = upsample_bilinear(&x, rows * self.patch, columns * self.patch, true)?;
        let up = observer.stage(Stage::of("head.up"), up)?;
        let x = self.conv2.forward_activated(&up, Activation::Relu)?;
        let x = observer.stage(Stage::of("head.conv3"), self.conv3.forward(&x)?)?;
        let x = match self.kind {
            Kind::Relative => x.relu()?,
            Kind::Metric => candle_nn::ops::sigmoid(&x)?,
        };
        observer.stage(Stage::of("depth"), (x.squeeze(1)? * self.max_depth)?)
    }
}
