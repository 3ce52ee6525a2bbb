//! How products of f32 operands are computed on the CPU; chosen once for the process, before the first weight is laid out.

use std::fmt;
use std::sync::OnceLock;

use candle_core::Result;

use crate::cpu::tiles::Engine;

/// The arithmetic of products of f32 operands on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// As the operands are.
    F32,
    /// Three products of bf16 on a matrix unit (Intel AMX), sums in f32: as exact as f32 where sums are long, within 2^-16 of
    /// each term where they are not. Operands above 3.38e38 in size, where bf16 ends, give no number.
    Bf16x3,
}

/// Read once where nothing was chosen by [`Products::choose`]: `f32`, `bf16x3`, or `bf16x3-emulated`, which needs no such CPU,
/// is slow, and there for tests. Anything else is as if it were not set.
const VARIABLE: &str = "DRAGUNOV_CPU_PRODUCTS";

/// None: f32 as it is.
static CHOSEN: OnceLock<Option<Engine>> = OnceLock::new();

impl Products {
    /// Fixes how products are computed; none leaves it to the machine: bf16x3 where it has a matrix unit and lets this process use
    /// it, else f32.
    ///
    /// # Errors
    /// bf16x3 on a machine without; another choice than one that is in force already.
    pub fn choose(choice: Option<Self>) -> Result<Self> {
        let wanted = match choice {
            None => Engine::native(),
            Some(Self::F32) => None,
            Some(Self::Bf16x3) => match Engine::native() {
                None => candle_core::bail!(
                    "products as bf16x3 were asked for, but this CPU has no AMX, or the system does not let this process use it; use f32"
                ),
                engine => engine,
            },
        };
        let now = *CHOSEN.get_or_init(|| wanted);
        if choice.is_some() && now != wanted {
            candle_core::bail!(
                "products as {} were asked for, but this process computes them as {} already",
                Self::of(wanted),
                Self::of(now)
            )
        }
        Ok(Self::of(now))
    }

    /// What is in force, and from now on cannot be chosen otherwise.
    pub fn current() -> Self {
        Self::of(engine())
    }

    /// Whether this process can compute [`Self::Bf16x3`].
    pub fn has_matrix_unit() -> bool {
        Engine::native().is_some()
    }

    fn of(engine: Option<Engine>) -> Self {
        match engine {
            None => Self::F32,
            Some(_) => Self::Bf16x3,
        }
    }
}

impl fmt::Display for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16x3 => "bf16x3",
        })
    }
}

/// Who multiplies tiles; none where products are f32's own.
pub(crate) fn engine() -> Option<Engine> {
    *CHOSEN.get_or_init(|| match std::env::var(VARIABLE).as_deref() {
        Ok("f32") => None,
        Ok("bf16x3-emulated") => Some(Engine::Portable),
        _ => Engine::native(),
    })
}
