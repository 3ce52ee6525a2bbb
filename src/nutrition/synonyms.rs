//! One food, two words: British and American English, and everyday names of what the table calls otherwise.

/// Said, and as the table says it; single words and pairs. Applied only where a label is not a name by itself.
#[rustfmt::skip]
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    ("aubergine", "eggplant"), ("brinjal", "eggplant"), ("courgette", "zucchini"), ("rocket", "arugula"),
    ("coriander", "cilantro"), ("beetroot", "beets"), ("beet root", "beets"), ("swede", "rutabaga"),
    ("spring onion", "green onion"), ("scallion", "green onion"), ("capsicum", "bell pepper"), ("mangetout", "snow peas"),
    ("mange tout", "snow peas"), ("sweetcorn", "sweet corn"), ("maize", "corn"), ("lady finger", "okra"), ("ladies finger", "okra"),
    ("gherkin", "pickles"), ("garbanzo", "chickpeas"), ("garbanzo bean", "chickpeas"), ("butter bean", "lima beans"),
    ("broad bean", "broadbeans"), ("fava bean", "broadbeans"), ("haricot bean", "navy beans"), ("runner bean", "green beans"),
    ("string bean", "green beans"), ("french bean", "green beans"), ("jacket potato", "baked potato"), ("crisp", "potato chips"),
    ("prawn", "shrimp"), ("king prawn", "shrimp"), ("minced beef", "ground beef"), ("mince beef", "ground beef"),
    ("beef mince", "ground beef"), ("minced meat", "ground beef"), ("minced pork", "ground pork"), ("pork mince", "ground pork"),
    ("minced lamb", "ground lamb"), ("lamb mince", "ground lamb"), ("minced turkey", "ground turkey"), ("turkey mince", "ground turkey"),
    ("gammon", "ham"), ("banger", "sausage"), ("chipolata", "sausage"), ("frankfurter", "hot dog sausage"), ("wiener", "hot dog sausage"),
    ("porridge", "oatmeal"), ("yoghurt", "yogurt"), ("yogourt", "yogurt"), ("donut", "doughnut"), ("omelet", "omelette"),
    ("wholemeal", "whole wheat"), ("wholewheat", "whole wheat"), ("wholegrain", "whole grain"), ("tinned", "canned"),
    ("skimmed milk", "nonfat milk"), ("skim milk", "nonfat milk"), ("semi skimmed", "reduced fat"), ("full fat milk", "whole milk"),
    ("icing", "frosting"), ("caster sugar", "sugar"), ("icing sugar", "powdered sugar"), ("treacle", "molasses"),
    ("sultana", "raisins"), ("satsuma", "tangerine"), ("mandarin", "tangerine"), ("mandarin orange", "tangerine"),
    ("groundnut", "peanut"), ("monkey nut", "peanut"), ("filbert", "hazelnuts"), ("coke", "cola"), ("pop", "soda"),
    ("fizzy drink", "soda"), ("catsup", "ketchup"), ("tomato ketchup", "ketchup"), ("chili", "chili con carne"),
    ("mayo", "mayonnaise"), ("oj", "orange juice"), ("pb", "peanut butter"), ("mac and cheese", "macaroni and cheese"),
    ("mac n cheese", "macaroni and cheese"), ("fry", "french fries"), ("fries", "french fries"), ("spud", "potato"),
    ("veg", "vegetables"), ("veggies", "vegetables"), ("veggie burger", "veggie burgers or soyburgers"), ("tuna fish", "tuna"),
    ("soya", "soy"), ("soya milk", "soymilk"), ("soy milk", "soymilk"), ("bean curd", "tofu"), ("flapjack", "granola bar"),
    ("hotcake", "pancake"), ("candyfloss", "cotton candy"), ("jelly", "gelatin dessert"), ("ginger beer", "ginger ale"),
    ("bbq", "barbecue"), ("starfruit", "carambola"), ("star fruit", "carambola"),
    ("cafe au lait", "latte"), ("cafe con leche", "latte"), ("cafe latte", "latte"), ("caffe latte", "latte"), ("milchkaffee", "latte"),
    ("rockmelon", "cantaloupe"), ("pawpaw", "papaya"), ("alligator pear", "avocado"), ("lox", "smoked salmon"),
];
