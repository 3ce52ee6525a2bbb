//! Base64, URLs and S3.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use dragunov::contract::ErrorCode;
use dragunov::contract::request::ImageSource;
use dragunov::egress::{Lookup, check_url, is_public};
use dragunov::intake::fetch::Fetcher;
use dragunov::intake::{Intake, IntakeConfig, SourceMeta};
use dragunov::s3::{ObjectReader, S3Uri};
use dragunov::{ScanError, ScanRequest};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::files::{jpeg, quadrants};
use crate::s3::S3;

fn photo() -> Vec<u8> {
    jpeg(&quadrants(128, 96))
}

async fn load(source: ImageSource, config: IntakeConfig) -> Result<usize, ScanError> {
    let loaded = Intake::new(config).load(&ScanRequest::new(source)).await?;
    Ok(loaded.photo.image.width())
}

#[tokio::test]
async fn base64_in_its_usual_spellings() {
    let bytes = photo();
    let plain = STANDARD.encode(&bytes);
    let lines: String = plain
        .as_bytes()
        .chunks(76)
        .map(|c| format!("{}\r\n", String::from_utf8_lossy(c)))
        .collect();
    for text in [
        plain.clone(),
        STANDARD_NO_PAD.encode(&bytes),
        lines,
        format!("data:image/jpeg;base64,{plain}"),
    ] {
        assert_eq!(
            load(ImageSource::Base64(text), IntakeConfig::default())
                .await
                .unwrap(),
            128
        );
    }
    for text in ["@@@@", "data:image/png,abc", "data:"] {
        let e = load(ImageSource::Base64(text.into()), IntakeConfig::default())
            .await
            .unwrap_err();
        assert_eq!(e.code, ErrorCode::BadRequest, "{text}");
    }
    let small = IntakeConfig {
        max_bytes: bytes.len() - 1,
        ..IntakeConfig::default()
    };
    for source in [ImageSource::Base64(plain), ImageSource::Bytes(bytes)] {
        let e = load(source, small.clone()).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::PayloadTooLarge);
    }
}

#[test]
fn urls_into_our_own_network_are_refused_before_any_lookup() {
    for url in [
        "http://example.com/a.jpg",
        "ftp://example.com/a.jpg",
        "file:///etc/passwd",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://2130706433/a",
        "https://0x7f000001/a",
        "https://0177.0.0.1/a",
        "https://0/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://[fd00:ec2::254]/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://8.8.8.8/a",
        "https://localhost/a",
        "https://localhost./a",
        "https://api.localhost/a",
        "https://metadata.google.internal/computeMetadata",
        "https://intranet/a",
        "https://user@example.com/a",
        "https://user:pw@example.com/a",
        "https://example.com:8443/a",
        "https://",
        "https://a..example.com/x",
        "https://exa mple.com/x",
        "https://%zz.example.com/x",
        "no url",
    ] {
        let e = check_url("image.url", url, false).unwrap_err();
        assert_eq!(e.code, ErrorCode::UrlRefused, "{url}");
    }
    let long = format!("https://{}.example.com/x", "a".repeat(64));
    let refused = check_url("image.url", &long, false).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UrlRefused);
    check_url(
        "image.url",
        "https://photos.example.com/a.jpg?X-Amz-Signature=1",
        false,
    )
    .unwrap();
    check_url("image.url", "https://photos.example.com:443/a.jpg", false).unwrap();
}

#[test]
fn only_globally_routable_addresses_are_public() {
    let public = [
        "93.184.216.34",
        "8.8.8.8",
        "172.32.0.1",
        "2606:2800:220:1::1",
        "2a00:1450::1",
    ];
    let special = [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.31.255.255",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001:db8::1",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
    ];
    for ip in public {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
    for ip in special {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
}

/// A name service with one answer, counting questions.
fn lookup(answer: &[&str], asked: &Arc<AtomicUsize>) -> Lookup {
    let ips: Vec<IpAddr> = answer.iter().map(|a| a.parse().unwrap()).collect();
    let asked = Arc::clone(asked);
    Arc::new(move |_| {
        asked.fetch_add(1, Ordering::SeqCst);
        let ips = ips.clone();
        Box::pin(async move { Ok(ips) })
    })
}

#[tokio::test]
async fn names_that_resolve_to_private_addresses_open_no_connection() {
    // Port 443 of loopback, where this machine lets us listen on it, must see nobody.
    let listener = TcpListener::bind("127.0.0.1:443").ok();
    if let Some(l) = &listener {
        l.set_nonblocking(true).unwrap();
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let answers: [&[&str]; 4] = [&["127.0.0.1"], &["10.0.0.7", "::1"], &["169.254.169.254"], &[]];
    for (i, answer) in answers.iter().enumerate() {
        let fetcher = Fetcher::with_lookup(false, Duration::from_secs(5), lookup(answer, &asked)).unwrap();
        let e = fetcher
            .get("https://rebind.example.com/a.jpg?sig=SECRET", 1000)
            .await
            .unwrap_err();
        assert_eq!(e.code, ErrorCode::UrlRefused, "{answer:?}: {e:?}");
        assert!(!format!("{e:?}").contains("SECRET"));
        assert_eq!(asked.load(Ordering::SeqCst), i + 1);
    }
    if let Some(l) = listener {
        assert!(l.accept().is_err(), "a connection was opened");
    }
}

#[tokio::test]
async fn bodies_are_capped_redirects_followed_and_answers_coded() {
    let server = MockServer::start().await;
    let bytes = photo();
    let n = bytes.len();
    let at = |p: &str| format!("{}{p}", server.uri());
    let reply =
        |p: &str, r: ResponseTemplate| Mock::given(method("GET")).and(path(p.to_owned())).respond_with(r);
    let go = |to: &str| ResponseTemplate::new(302).insert_header("location", to);
    for mock in [
        reply("/a.jpg", ResponseTemplate::new(200).set_body_bytes(bytes)),
        reply("/hop", go("/a.jpg")),
        reply("/loop", go("/loop")),
        reply("/file", go("file:///etc/passwd")),
        reply("/gone", ResponseTemplate::new(404)),
        reply("/expired", ResponseTemplate::new(403)),
        reply("/broken", ResponseTemplate::new(500)),
        reply(
            "/slow",
            ResponseTemplate::new(200).set_delay(Duration::from_secs(30)),
        ),
    ] {
        mock.mount(&server).await;
    }
    let fetcher = Fetcher::new(true, Duration::from_millis(1500)).unwrap();
    assert_eq!(fetcher.get(&at("/a.jpg"), n).await.unwrap().bytes.len(), n);
    assert_eq!(fetcher.get(&at("/hop"), n).await.unwrap().bytes.len(), n);
    for (p, cap, code) in [
        ("/a.jpg", n - 1, ErrorCode::PayloadTooLarge),
        ("/loop", n, ErrorCode::UrlRefused),
        ("/file", n, ErrorCode::UrlRefused),
        ("/gone", n, ErrorCode::ObjectNotFound),
        ("/expired", n, ErrorCode::UrlRefused),
        ("/broken", n, ErrorCode::FetchFailed),
        ("/slow", n, ErrorCode::FetchFailed),
    ] {
        let e = fetcher.get(&at(p), cap).await.unwrap_err();
        assert_eq!(e.code, code, "{p}: {e:?}");
    }
    let config = IntakeConfig {
        allow_private_urls: true,
        ..IntakeConfig::default()
    };
    assert_eq!(load(ImageSource::Url(at("/a.jpg")), config).await.unwrap(), 128);
    let e = load(ImageSource::Url(at("/a.jpg")), IntakeConfig::default())
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::UrlRefused);
}

#[test]
fn s3_addresses_are_checked() {
    let long = format!("s3://bucket/{}", "a".repeat(513));
    for bad in [
        "https://bucket/key",
        "s3://bucket",
        "s3://bucket/",
        "s3://Bucket/key",
        "s3://b/key",
        "s3://bucket/../../etc/x",
        "s3://bucket/a/./b",
        "s3://bucket//key",
        "s3://bucket/a//b",
        "s3://bucket/a\\b",
        "s3://bucket/a\nb",
        "s3://bucket/cre\u{300}me",
        long.as_str(),
    ] {
        assert_eq!(
            S3Uri::parse(bad).unwrap_err().code,
            ErrorCode::InvalidField,
            "{bad:?}"
        );
    }
    let uri = S3Uri::parse("s3://meal-photos/u/2f/crème.jpg").unwrap();
    assert_eq!((uri.bucket(), uri.key()), ("meal-photos", "u/2f/crème.jpg"));
}

#[tokio::test]
async fn s3_objects_arrive_with_their_metadata() {
    let s3 = S3::start(&["meals"]).await;
    let bytes = photo();
    for (key, pitch) in [("u/1/a.jpg", "45.2"), ("u/1/b.jpg", "-45.2")] {
        let meta = [("pitch", pitch), ("roll", "1.5"), ("gravity", "0,-0.7,-0.7")];
        s3.put("meals", key, &meta, bytes.clone()).await;
    }
    let reader = ObjectReader::new(s3.client.clone(), Some(vec!["meals".into(), "empty".into()]));
    let get = |uri: &'static str, cap| {
        let reader = &reader;
        async move {
            let object = reader.get(&S3Uri::parse(uri).unwrap(), cap).await?;
            SourceMeta::from_pairs(object.pairs())?;
            Ok::<_, ScanError>(object)
        }
    };
    let object = get("s3://meals/u/1/a.jpg", bytes.len()).await.unwrap();
    assert_eq!(object.bytes, bytes);
    let meta = SourceMeta::from_pairs(object.pairs()).unwrap();
    assert_eq!((meta.pitch_deg, meta.roll_deg), (Some(45.2), Some(1.5)));
    assert_eq!(meta.gravity, Some([0.0, -0.7, -0.7]));
    for (uri, cap, code) in [
        ("s3://meals/u/1/b.jpg", bytes.len(), ErrorCode::InvalidField),
        (
            "s3://meals/u/1/a.jpg",
            bytes.len() - 1,
            ErrorCode::PayloadTooLarge,
        ),
        ("s3://meals/u/1/none.jpg", bytes.len(), ErrorCode::ObjectNotFound),
        ("s3://empty/u/1/a.jpg", bytes.len(), ErrorCode::ObjectNotFound),
        ("s3://other-bucket/u/1/a.jpg", bytes.len(), ErrorCode::UrlRefused),
    ] {
        let e = get(uri, cap).await.unwrap_err();
        assert_eq!(e.code, code, "{uri}: {e:?}");
    }
}
