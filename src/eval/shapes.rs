//! What solid a food's name implies, until the food table says so itself.

use crate::geometry::ShapeClass;

/// Shape class of a label by its words; [`ShapeClass::Unknown`] where none is known.
pub fn shape_of(label: &str) -> ShapeClass {
    let label = label.trim().to_lowercase();
    let has = |word: &str| label.contains(word);
    if has("half") {
        return ShapeClass::Cup;
    }
    if has("slice") || has("fillet") || has("cutlet") {
        return ShapeClass::Slab;
    }
    const RULES: &[(&[&str], ShapeClass)] = &[
        (&["broccoli", "cauliflower"], ShapeClass::Cluster),
        (&["drumstick"], ShapeClass::Drumstick),
        (
            &[
                "banana",
                "sausage",
                "corn on the cob",
                "croissant",
                "hot dog",
                "cucumber",
            ],
            ShapeClass::Rod,
        ),
        (
            &["soup", "yogurt", "porridge", "milk", "juice", "coffee", "tea"],
            ShapeClass::Liquid,
        ),
    ];
    for (words, shape) in RULES {
        if words.iter().any(|w| has(w)) {
            return *shape;
        }
    }
    const EXACT: &[(&[&str], ShapeClass)] = &[(
        &[
            "apple",
            "orange",
            "lemon",
            "lime",
            "peach",
            "pear",
            "plum",
            "tomato",
            "cherry tomatoes",
            "grapes",
            "egg",
            "boiled egg",
            "meatballs",
            "falafel",
            "potato",
            "sweet potato",
            "mango",
            "litchi",
            "kiwi",
            "strawberries",
            "qiwi",
        ],
        ShapeClass::Ball,
    )];
    for (words, shape) in EXACT {
        if words.contains(&label.as_str()) {
            return *shape;
        }
    }
    ShapeClass::Slab
}
