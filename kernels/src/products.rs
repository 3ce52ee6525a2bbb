//! How products of f32 operands are computed on the CPU; chosen once for the process, before the first weight is laid out.

use std::fmt;
use std::sync::OnceLock;

use candle_core::{DType, Result};

use crate::cpu::tiles::{Engine, Terms};

/// The arithmetic of products of f32 operands on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// As the operands are.
    F32,
    /// Each operand as two numbers of bf16, three products of those on a matrix unit (Intel AMX), sums in f32: within 2^-15 of each
    /// term. Operands above 3.38e38 in size, where bf16 ends, give no number.
    Bf16x3,
    /// Each operand as three numbers of bf16, six products: as exact as f32.
    Bf16x6,
}

/// Read once where nothing was chosen by [`Products::choose`]: `f32`, `bf16x3`, `bf16x6`, or these two with `-emulated`, which
/// needs no such CPU, is slow, and there for tests. Anything else is as if it were not set.
const VARIABLE: &str = "DRAGUNOV_CPU_PRODUCTS";

/// What the machine is taken to want where nobody chooses, for tensors of f32.
const USUAL: Products = Products::F32;

static CHOSEN: OnceLock<Choice> = OnceLock::new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    products: Products,
    /// Multiplies tensors of bf16, and those of f32 unless their products are f32's own.
    engine: Option<Engine>,
}

impl Choice {
    /// Nothing but f32's own products, for tensors of bf16 as well.
    const PLAIN: Self = Self {
        products: Products::F32,
        engine: None,
    };

    fn usual() -> Self {
        Self {
            products: USUAL,
            engine: Engine::of_bf16(),
        }
    }

    fn from_environment() -> Self {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let (name, engine) = match text.strip_suffix("-emulated") {
            Some(name) => (name, Some(Engine::Portable)),
            None => (text.as_str(), Engine::matrix_unit()),
        };
        match (name, engine) {
            ("f32", _) => Self::PLAIN,
            ("bf16x3", Some(_)) => Self {
                products: Products::Bf16x3,
                engine,
            },
            ("bf16x6", Some(_)) => Self {
                products: Products::Bf16x6,
                engine,
            },
            _ => Self::usual(),
        }
    }
}

impl Products {
    /// Fixes how products are computed; none leaves it to the machine.
    ///
    /// # Errors
    /// bf16x3 and bf16x6 on a machine without a matrix unit; another choice than one that is in force already.
    pub fn choose(choice: Option<Self>) -> Result<Self> {
        let wanted = match (choice, Engine::matrix_unit()) {
            (None, _) => Choice::usual(),
            (Some(Self::F32), _) => Choice::PLAIN,
            (Some(products), None) => candle_core::bail!(
                "products as {products} were asked for, but this CPU has no AMX, or the system does not let this process use it; \
                 use f32"
            ),
            (Some(products), engine) => Choice { products, engine },
        };
        let now = *CHOSEN.get_or_init(|| wanted);
        if choice.is_some() && now.products != wanted.products {
            candle_core::bail!(
                "products as {} were asked for, but this process computes them as {} already",
                wanted.products,
                now.products
            )
        }
        Ok(now.products)
    }

    /// What is in force, and from now on cannot be chosen otherwise.
    pub fn current() -> Self {
        current().products
    }

    /// Whether this process can compute f32 by bf16.
    pub fn has_matrix_unit() -> bool {
        Engine::matrix_unit().is_some()
    }

    /// The instructions that multiply tensors of bf16 in this process; none where they are multiplied as f32.
    pub fn instructions_of_bf16() -> Option<&'static str> {
        current().engine.map(|engine| match engine {
            Engine::Amx => "AMX",
            Engine::Avx512 => "AVX-512",
            Engine::Portable => "plain loops, for tests",
        })
    }
}

fn current() -> Choice {
    *CHOSEN.get_or_init(Choice::from_environment)
}

/// Who multiplies operands of this element type by tiles, and in how many terms; none where they are multiplied otherwise.
pub(crate) fn tiles_of(dtype: DType) -> Option<(Engine, Terms)> {
    let Choice { products, engine } = current();
    let terms = match (dtype, products) {
        (DType::BF16, _) => Terms::One,
        (DType::F32, Products::Bf16x3) => Terms::Two,
        (DType::F32, Products::Bf16x6) => Terms::Three,
        _ => return None,
    };
    engine.map(|engine| (engine, terms))
}

impl fmt::Display for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16x3 => "bf16x3",
            Self::Bf16x6 => "bf16x6",
        })
    }
}
