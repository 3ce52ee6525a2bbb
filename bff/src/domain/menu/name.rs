//! Names of restaurants, so that "McDonald’s" and "mc donalds" are one.

use unicode_normalization::UnicodeNormalization;

/// A normalised name: lower case, no accents of Latin letters, no punctuation, no words that mean a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameKey(String);

/// Characters of a key.
const LENGTH: usize = 80;
/// Say where or what, not who; dropped if something else remains.
const BRANCH: [&str; 14] = [
    "restaurant",
    "restaurants",
    "ristorante",
    "the",
    "branch",
    "filiale",
    "store",
    "drive",
    "thru",
    "nearby",
    "gmbh",
    "inc",
    "ltd",
    "llc",
];

impl NameKey {
    /// `None` for what cannot be a name: fewer than two letters or digits, no letter, or too long.
    pub fn of(name: &str) -> Option<Self> {
        if name.chars().count() > 4 * LENGTH {
            return None;
        }
        let mut plain = String::with_capacity(name.len());
        for c in name.nfkc().flat_map(char::to_lowercase).nfd() {
            match c {
                // Accents of Latin, Greek and Cyrillic; the marks of other scripts are letters to their readers.
                '\u{300}'..='\u{36f}' | '\'' | '\u{2019}' | '\u{2018}' | '`' | '.' => {}
                '&' | '+' => plain.push_str(" and "),
                'ß' => plain.push_str("ss"),
                'æ' => plain.push_str("ae"),
                'ø' => plain.push('o'),
                'ł' => plain.push('l'),
                c if c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c) => {
                    plain.push(c)
                }
                _ => plain.push(' '),
            }
        }
        let plain: String = plain.nfc().collect();
        let words: Vec<&str> = plain.split_whitespace().collect();
        let telling: Vec<&str> = words.iter().copied().filter(|w| !BRANCH.contains(w)).collect();
        let key = if telling.is_empty() { words } else { telling }.join(" ");
        let enough =
            key.chars().filter(|c| c.is_alphanumeric()).count() >= 2 && key.chars().any(char::is_alphabetic);
        (enough && key.chars().count() <= LENGTH).then_some(Self(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Equal but for spaces, or one has all words of the other: "starbucks" and "starbucks coffee".
    pub fn is_like(&self, other: &Self) -> bool {
        let joined = |k: &Self| k.0.replace(' ', "");
        let within = |a: &Self, b: &Self| a.0.split(' ').all(|w| b.0.split(' ').any(|o| o == w));
        joined(self) == joined(other) || within(self, other) || within(other, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> String {
        NameKey::of(name).unwrap().0
    }

    #[test]
    fn one_restaurant_has_one_key() {
        for name in [
            "Starbucks",
            " STARBUCKS  ",
            "starbucks®",
            "Starbucks Restaurant",
            "the Starbucks store",
            "Ｓｔａｒｂｕｃｋｓ",
        ] {
            assert_eq!(key(name), "starbucks", "{name}");
        }
        for name in ["McDonald's", "McDonald’s", "MCDONALDS", "mcdonald`s"] {
            assert_eq!(key(name), "mcdonalds", "{name}");
        }
        assert_eq!(key("Café Nero"), key("Cafe\u{301} nero"));
        assert_eq!(key("A&W"), "a and w");
        assert_eq!(key("Weißes Rößl"), "weisses rossl");
        assert_eq!(key("7-Eleven"), "7 eleven");
        assert_eq!(key("The Restaurant"), "the restaurant", "nothing else remains");
        assert_eq!(key("マクドナルド"), "マクドナルド");
        assert_eq!(key("मैकडॉनल्ड्स"), "मैकडॉनल्ड्स", "vowel signs are letters");
    }

    #[test]
    fn what_is_no_name_has_none() {
        for name in [
            "",
            " ",
            "a",
            "!!",
            "12345",
            "<>",
            &"x".repeat(81),
            &"x ".repeat(300),
        ] {
            assert_eq!(NameKey::of(name), None, "{name}");
        }
        assert!(NameKey::of(&"x".repeat(80)).is_some());
    }

    #[test]
    fn likeness_is_by_whole_words() {
        let like = |a: &str, b: &str| NameKey::of(a).unwrap().is_like(&NameKey::of(b).unwrap());
        assert!(
            like("starbucks", "Starbucks Coffee") && like("Starbucks Coffee Company", "starbucks coffee")
        );
        assert!(like("mc donalds", "McDonald's"));
        assert!(!like("burger king", "Burger Machine"));
        assert!(!like("nero", "neroli"));
    }
}
