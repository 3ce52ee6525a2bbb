//! What solid a food's name implies, until the food table says so itself.

use crate::geometry::ShapeClass;

/// Shape class of a label by its words; [`ShapeClass::Unknown`] where none is known.
pub fn shape_of(label: &str) -> ShapeClass {
    let label = label.trim().to_lowercase();
    let word = |w: &str| label.split(|c: char| !c.is_alphabetic()).any(|part| part == w);
    let any = |list: &[&str]| {
        list.iter().any(|w| {
            if w.contains(' ') {
                label.contains(w)
            } else {
                word(w)
            }
        })
    };
    for (words, shape) in RULES {
        if any(words) {
            return *shape;
        }
    }
    ShapeClass::Unknown
}

/// First match wins; a word matches whole.
const RULES: &[(&[&str], ShapeClass)] = &[
    (&["broccoli", "cauliflower"], ShapeClass::Cluster),
    (
        &[
            "soup", "yogurt", "porridge", "milk", "juice", "coffee", "tea", "oatmeal", "congee", "water",
        ],
        ShapeClass::Liquid,
    ),
    (
        &[
            "rice",
            "beans",
            "lentils",
            "peas",
            "sweetcorn",
            "corn kernels",
            "couscous",
            "quinoa",
            "granola",
            "noodles",
            "spaghetti",
            "pasta",
            "penne",
            "macaroni",
            "mashed",
            "mash",
            "mince",
            "minced",
            "scrambled",
            "salad",
            "vegetables",
            "blueberries",
            "raspberries",
            "fries",
            "curry",
            "stew",
            "chili",
            "risotto",
            "crumble",
            "popcorn",
            "chips",
            "nuts",
            "almonds",
            "raisins",
            "shredded",
            "spinach",
            "coleslaw",
            "hummus",
        ],
        ShapeClass::Pile,
    ),
    (
        &[
            "fried egg",
            "nuggets",
            "nugget",
            "doughnut",
            "donut",
            "pancakes",
            "pancake",
            "tomato slices",
        ],
        ShapeClass::RoundedSlab,
    ),
    (
        &["drumstick", "banana", "croissant", "wing", "wings"],
        ShapeClass::Tapered,
    ),
    (
        &[
            "sausage",
            "corn on the cob",
            "corn cob",
            "hot dog",
            "carrot raw",
            "spring roll",
        ],
        ShapeClass::Rod,
    ),
    (&["half", "halves"], ShapeClass::Cup),
    (
        &[
            "slice",
            "slices",
            "sliced",
            "fillet",
            "cutlet",
            "toast",
            "brownie",
            "cake",
            "cheese",
            "tofu",
            "steak",
            "chicken breast",
            "omelette",
            "patty",
            "pizza",
            "sushi",
            "cookie",
            "hamburger",
            "burger",
            "sandwich",
            "lasagna",
            "waffle",
            "pork",
            "beef",
            "fish",
            "salmon",
            "ham",
            "bacon",
            "chocolate",
        ],
        ShapeClass::Slab,
    ),
    (
        &["roll", "bun", "bread", "dumpling", "muffin", "mooncake"],
        ShapeClass::Dome,
    ),
    (
        &[
            "apple",
            "orange",
            "lemon",
            "lime",
            "peach",
            "pear",
            "plum",
            "tomato",
            "tomatoes",
            "grapes",
            "grape",
            "egg",
            "eggs",
            "meatballs",
            "meatball",
            "falafel",
            "potato",
            "potatoes",
            "mango",
            "litchi",
            "kiwi",
            "strawberries",
            "strawberry",
            "cherries",
            "apricot",
            "avocado",
        ],
        ShapeClass::Ball,
    ),
];
