//! Kinds of things on a table.

use serde::{Deserialize, Serialize};

use super::vocabulary::vocabulary;

/// What carries food.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DishKind {
    Plate,
    Bowl,
    /// A flat board or tray: no rim to measure by.
    Board,
}

vocabulary! {
    /// A thing of known size on the table.
    ReferenceKind {
        Plate = "plate":
            "The largest plate in view, or the largest bowl where there is no plate.",
            "Send its outer diameter as `diameter_cm`.";
        Coin = "coin":
            "A coin that lies flat on the table.",
            "Send its diameter as `diameter_cm`.";
        Card = "card":
            "A card of the size of a bank card (ISO/IEC 7810 ID-1, 85.60 x 53.98 mm) that lies flat on the table.",
            "Send no `diameter_cm`: the size is known.";
    }
}

vocabulary! {
    /// Coarse class of a region on the table.
    Kind {
        Food = "food": "Food or drink that is measured.", "Show it.";
        Plate = "plate": "A plate.", "Nothing.";
        Bowl = "bowl": "A bowl or a deep plate.", "Nothing.";
        Glass = "glass": "A glass, a cup or a bottle; what is in it is not measured.", "Let the user add a drink.";
        Cutlery = "cutlery": "Cutlery or chopsticks.", "Nothing.";
        Coin = "coin": "A coin.", "Nothing.";
        Card = "card": "A card of the size of a bank card.", "Nothing.";
        Board = "board": "A flat board or tray.", "Nothing.";
        Napkin = "napkin": "A napkin or a cloth.", "Nothing.";
        Phone = "phone": "A phone.", "Nothing.";
        Table = "table": "The table itself.", "Nothing.";
        Other = "other": "Anything else.", "Nothing.";
    }
}

impl Kind {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.as_str() == text)
    }

    /// What food is served on.
    pub fn dish(self) -> Option<DishKind> {
        match self {
            Self::Plate => Some(DishKind::Plate),
            Self::Bowl => Some(DishKind::Bowl),
            Self::Board => Some(DishKind::Board),
            _ => None,
        }
    }

    /// A thing of known size beside the food.
    pub fn reference(self) -> Option<ReferenceKind> {
        match self {
            Self::Coin => Some(ReferenceKind::Coin),
            Self::Card => Some(ReferenceKind::Card),
            _ => None,
        }
    }
}
