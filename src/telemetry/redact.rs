//! What must not reach a log line or an error text although a caller wrote it: signatures and passwords inside URLs.

/// The text with the query and the user information of every URL in it replaced by `***`.
pub fn urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\'))
            .unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        let (base, query) = url.find(['?', '#']).map_or((url, ""), |i| url.split_at(i));
        let host_end = base.find('/').unwrap_or(base.len());
        let base = match base[..host_end].rfind('@') {
            Some(i) => {
                out.push_str("***@");
                &base[i + 1..]
            }
            None => base,
        };
        out.push_str(base);
        if !query.is_empty() {
            out.push_str("?***");
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_passwords_go() {
        for (text, want) in [
            ("no address", "no address"),
            (
                "unknown variant `https://b.s3.example/k?X-Amz-Signature=abc`, expected `s3`",
                "unknown variant `https://b.s3.example/k?***`, expected `s3`",
            ),
            (
                "at https://me:pw@host/p and http://x/#t.",
                "at https://***@host/p and http://x/?***",
            ),
            ("https://h?a=1 https://h/b", "https://h?*** https://h/b"),
            ("://", "://"),
        ] {
            assert_eq!(urls(text), want);
        }
    }
}
