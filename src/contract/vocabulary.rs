//! Closed lists of words on the wire, each one table: the word, what it means, what a client should do about it.
//!
//! The text of a word is part of the API. `docs/api.md` holds the same tables; a test compares them.

/// Makes an enum of such a table. It is written and read as its text, and OpenAPI lists the texts, under another name
/// after `as`.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident $(as $schema:literal)? {
        $($variant:ident = $text:literal: $meaning:literal, $action:literal;)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(#[doc = $meaning] #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every word, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The text of every word.
            pub fn texts() -> Vec<&'static str> {
                Self::ALL.iter().map(|word| word.as_str()).collect()
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What a client should do.
            pub const fn action(self) -> &'static str {
                match self { $(Self::$variant => $action,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let rows = Self::ALL.iter().map(|word| (word.as_str(), word.meaning()));
                $crate::contract::vocabulary::schema(rows)
            }
        }

        impl utoipa::ToSchema for $name {
            $(fn name() -> std::borrow::Cow<'static, str> {
                $schema.into()
            })?
        }
    };
}
pub(crate) use vocabulary;

/// A string of one of the words; the description says what each means.
pub(crate) fn schema<'a>(
    rows: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    let described: Vec<String> = rows
        .clone()
        .map(|(text, meaning)| format!("* `{text}`: {meaning}"))
        .collect();
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(rows.map(|(text, _)| text)))
        .description(Some(described.join("\n")))
        .into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::contract::*;

    /// One way on the wire and back, and no word twice.
    macro_rules! round {
        ($($name:ident)*) => { $(
            let mut texts = $name::texts();
            for word in $name::ALL {
                let json = serde_json::to_value(word).unwrap();
                assert_eq!(json, word.as_str());
                assert_eq!(serde_json::from_value::<$name>(json).unwrap(), *word);
                assert!(word.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{word}");
                assert!(word.meaning().ends_with('.') && word.action().ends_with('.'), "{word}");
            }
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(texts.len(), $name::ALL.len(), stringify!($name));
        )* };
    }

    #[test]
    fn words_are_written_and_read_as_their_text() {
        round!(DepthFormat DepthMapUnit DepthSource ErrorCode Fault FoodSourceKind FovSource GravitySource ItemFlag Kind MaskFormat ReferenceKind ReshootAction ScaleSource ScanStatus Stage TiltSource WarningCode);
        assert!(serde_json::from_str::<WarningCode>("\"nadirs\"").is_err());
    }
}
