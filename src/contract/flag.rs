//! What is special about one item.

use super::vocabulary::vocabulary;

vocabulary! {
    /// Why an item deserves a second look; its interval is already wider for it.
    ItemFlag {
        DepthGaps = "depth_gaps":
            "Over a tenth of the item has no depth.",
            "Treat the volume as rough; avoid glare and transparent covers in the next photo.";
        NoRelief = "no_relief":
            "The depth shows no height there: two centimetres, or the food's usual shape, are assumed.",
            "Take the next photo from 20 to 45 degrees.";
        UnusualSize = "unusual_size":
            "Depth and outline contradict each other, or the item is far from its usual size.",
            "Show the amount for confirmation first.";
        Bowl = "bowl":
            "It lies in a bowl: what is below the rim is by the bowl's usual shape.",
            "Nothing. The bowl's depth is a good question to the user.";
        ShapeUnknown = "shape_unknown":
            "The food's shape is not known, so an average one is used.",
            "Let the user choose the label.";
        Flat = "flat":
            "It does not rise above the table. A scan leaves such regions out (warning `flat_region_ignored`); only `eval` shows them.",
            "Nothing.";
        Implausible = "implausible":
            "No food on a dish can be as large. A scan leaves such items out (warning `implausible`); only `eval` shows them.",
            "Nothing.";
        TouchesEdge = "touches_edge":
            "The edge of the photo cuts it off.",
            "Take the next photo with the whole plate in view.";
        Thin = "thin":
            "Its mean height is under 4 mm, where an error of a millimetre counts.",
            "Show the amount for confirmation first.";
        MeanHeightOutOfRange = "mean_height_out_of_range":
            "Its mean height is over 7 cm.",
            "Check the label and that the item is one thing.";
        VolumeOutOfRange = "volume_out_of_range":
            "Its volume is under 3 or over 1500 cm3.",
            "Check the scale: send a plate's diameter or lay a bank card on the table.";
        Tall = "tall":
            "It is tall beside its width, so its far side is guessed.",
            "Take the next photo from higher above.";
        LabelFuzzy = "label_fuzzy":
            "The label is not in the food table; the row with the most similar name is used.",
            "Show `food_id` for confirmation.";
        LabelCategory = "label_category":
            "The label is not in the food table; the average of its category is used.",
            "Let the user choose the food.";
        LabelUnknown = "label_unknown":
            "Nothing in the food table is like the label; a food of average density and energy is used.",
            "Let the user choose the food: without a label the energy is a guess.";
        Leaf = "leaf":
            "Leaves: their weight for the same volume differs much.",
            "Show the amount for confirmation first.";
        MassFused = "mass_fused":
            "The vision model's own guess of the weight took part.",
            "Nothing.";
        VlmGramsDisagree = "vlm_grams_disagree":
            "The vision model's guess of the weight is off by more than a factor of three and was left out.",
            "Show the amount for confirmation first.";
        LabelAmount = "label_amount":
            "The amount that the label tells (\"2 eggs\", \"1 cup rice\") took part.",
            "Nothing.";
        LabelAmountDisagrees = "label_amount_disagrees":
            "The amount that the label tells is off by more than a factor of three and was left out.",
            "Show the amount for confirmation first.";
        MassImplausible = "mass_implausible":
            "It weighs under 1 or over 2500 g.",
            "Check the scale and the label.";
        EnergyCheck = "energy_check":
            "The table's energy and macros contradict each other for this food.",
            "Trust the energy more than the macros.";
    }
}

/// Each flag once, in the order of its first appearance.
pub fn distinct(flags: impl IntoIterator<Item = ItemFlag>) -> Vec<ItemFlag> {
    let mut out = Vec::new();
    for flag in flags {
        if !out.contains(&flag) {
            out.push(flag);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::ItemFlag::*;

    #[test]
    fn equal_flags_go_wherever_they_stand() {
        assert_eq!(
            super::distinct([Bowl, Thin, Bowl, Bowl, Tall, Thin]),
            [Bowl, Thin, Tall]
        );
    }
}
