//! What a region can be besides food.

use serde::{Deserialize, Serialize};

/// Coarse class of a region on the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Food,
    Plate,
    Bowl,
    Glass,
    Cutlery,
    Coin,
    Card,
    Board,
    Napkin,
    Phone,
    Table,
    Other,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Food,
        Self::Plate,
        Self::Bowl,
        Self::Glass,
        Self::Cutlery,
        Self::Coin,
        Self::Card,
        Self::Board,
        Self::Napkin,
        Self::Phone,
        Self::Table,
        Self::Other,
    ];

    /// Whether food is served on it.
    pub fn is_dish(self) -> bool {
        matches!(self, Self::Plate | Self::Bowl | Self::Board)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Food => "food",
            Self::Plate => "plate",
            Self::Bowl => "bowl",
            Self::Glass => "glass",
            Self::Cutlery => "cutlery",
            Self::Coin => "coin",
            Self::Card => "card",
            Self::Board => "board",
            Self::Napkin => "napkin",
            Self::Phone => "phone",
            Self::Table => "table",
            Self::Other => "other",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}
