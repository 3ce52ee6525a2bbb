//! Calls to services of others: no redirects, no proxy, a time and a size for everything.

use std::time::Duration;

use reqwest::Response;
use reqwest::redirect::Policy;
use url::Url;

/// # Errors
/// The TLS library cannot be set up.
pub fn client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(timeout)
        .redirect(Policy::none())
        .no_proxy()
        .build()
}

/// The body, or `None` if it is larger than `most` or breaks off.
pub async fn body(mut response: Response, most: usize) -> Option<Vec<u8>> {
    if response.content_length().is_some_and(|n| n > most as u64) {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > most {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// `Retry-After` in seconds; a date is not read. At most an hour.
pub fn retry_after(response: &Response) -> Option<Duration> {
    let value = response
        .headers()
        .get(reqwest::header::RETRY_AFTER)?
        .to_str()
        .ok()?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// A base URL that a key may be sent to: https, or http on loopback.
pub fn base(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    };
    (url.scheme() == "https" || (url.scheme() == "http" && loopback)).then_some(url)
}

/// A path below a base, whether or not that ends in a slash.
pub fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_encrypted_or_not_at_all() {
        for good in [
            "https://api.example.com/v1",
            "http://127.0.0.1:9",
            "http://localhost:9/x",
            "http://[::1]:9",
        ] {
            assert!(base(good).is_some(), "{good}");
        }
        for bad in [
            "http://api.example.com",
            "ftp://127.0.0.1",
            "x",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
        ] {
            assert!(base(bad).is_none(), "{bad}");
        }
        assert_eq!(
            below(&base("https://a.example/v1/").unwrap(), "x/y").as_str(),
            "https://a.example/v1/x/y"
        );
        assert_eq!(
            below(&base("https://a.example").unwrap(), "x").as_str(),
            "https://a.example/x"
        );
    }
}
