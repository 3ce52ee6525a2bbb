//! The one thing that is read of XMP: how the photo is to be turned.

/// Namespace of the TIFF properties (XMP specification, part 2).
const TIFF: &str = "http://ns.adobe.com/tiff/1.0/";

/// `tiff:Orientation`, 1 to 8, as an attribute or an element, whatever the prefix is called.
///
/// A search in the text, not a parse: nothing in it can expand, and programs write it in one of these two ways.
pub(super) fn orientation(packet: &[u8]) -> Option<u8> {
    let text = String::from_utf8_lossy(packet);
    let declared = text
        .match_indices(TIFF)
        .filter_map(|(at, _)| prefix_before(&text[..at]));
    let mut prefixes: Vec<&str> = declared.take(8).collect();
    prefixes.push("tiff");
    prefixes.iter().find_map(|prefix| {
        let name = format!("{prefix}:Orientation");
        text.match_indices(&name).take(8).find_map(|(at, _)| {
            let before = text[..at].chars().next_back();
            let whole = before.is_none_or(|c| c.is_whitespace() || c == '<');
            let value = text[at + name.len()..].trim_start();
            let value = match value.strip_prefix('=') {
                Some(rest) => rest.trim_start().strip_prefix(['"', '\''])?,
                None => value.strip_prefix('>')?,
            };
            let mut digits = value.trim_start().chars();
            let digit = digits.next()?.to_digit(10)? as u8;
            let alone = digits.next().is_none_or(|c| !c.is_ascii_digit());
            (whole && alone && (1..=8).contains(&digit)).then_some(digit)
        })
    })
}

/// `p` of `xmlns:p="`, the text ending there.
fn prefix_before(text: &str) -> Option<&str> {
    let name = text
        .strip_suffix(['"', '\''])?
        .trim_end()
        .strip_suffix('=')?
        .trim_end();
    let (_, prefix) = name.rsplit_once("xmlns:")?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!prefix.is_empty() && prefix.len() <= 64 && prefix.chars().all(plain)).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::orientation;

    #[test]
    fn attributes_elements_and_prefixes() {
        for (text, want) in [
            (r#"<rdf:Description tiff:Orientation="6"/>"#, Some(6)),
            ("<tiff:Orientation>8</tiff:Orientation>", Some(8)),
            ("<x tiff:Orientation = '3' />", Some(3)),
            (
                r#"<r xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="5"/>"#,
                Some(5),
            ),
            (r#"<x tiff:Orientation="9"/>"#, None),
            (r#"<x tiff:Orientation="66"/>"#, None),
            (r#"<x mytiff:Orientation="6"/>"#, None),
            ("tiff:Orientation", None),
            ("", None),
        ] {
            assert_eq!(orientation(text.as_bytes()), want, "{text}");
        }
    }
}
