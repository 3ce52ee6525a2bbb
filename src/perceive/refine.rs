//! Edges moved to where the photo shows them.

mod bowl_content;
mod coin_edge;
mod mask_bleed;

pub(super) use bowl_content::without_wall;
pub(super) use coin_edge::fit_coin_edge;
pub(super) use mask_bleed::without_bleed;
