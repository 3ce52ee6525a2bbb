//! Small files that unpack into much, sent to a whole service at work: it stays within its memory, answers honest jobs,
//! and outlives all of them.

use std::io::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::app::png;
use crate::patience::until;
use crate::process::{Service, client, get};

/// What `serve` with the bundled models may take, two jobs running, whatever it is sent.
pub const CEILING: u64 = 1_200_000_000;

/// A TIFF block of `size` bytes whose directory links to thousands of directories that overlap: a reader that follows
/// all links collects millions of entries.
fn exif_bomb(size: usize) -> Vec<u8> {
    let links = (size * 6 / 10 / 12).min(65_000);
    let start = 10 + 12 * links;
    // This byte twice, read as a count anywhere behind the links, makes a directory that fills half of what is there.
    let fill = ((size - start) / 2 / 12 / 257).clamp(1, 255);
    let room = size - start - 12 * 257 * fill - 8;
    let mut block = b"II*\0\x08\0\0\0".to_vec();
    block.extend((links as u16).to_le_bytes());
    for i in 0..links {
        block.extend(0x8769_u16.to_le_bytes());
        block.extend(4_u16.to_le_bytes());
        block.extend(1_u32.to_le_bytes());
        block.extend(((start + i % room) as u32).to_le_bytes());
    }
    block.resize(size, fill as u8);
    block
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length, kind.as_slice(), data, &crc.sum().to_be_bytes()].concat()
}

/// A small picture with chunks after its header.
fn png_with(chunks: &[Vec<u8>]) -> Vec<u8> {
    let plain = png(64, 48);
    [&plain[..33], &chunks.concat(), &plain[33..]].concat()
}

/// So many megabytes of one byte, packed.
fn packed(byte: u8, megabytes: usize) -> Vec<u8> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..megabytes {
        out.write_all(&vec![byte; 1 << 20]).unwrap();
    }
    out.finish().unwrap()
}

/// A PNG of `side` x `side` pixels that are all zero.
fn empty_png(side: u32, colour: u8, depth: u8, interlace: u8) -> Vec<u8> {
    let channels = [1, 0, 3, 1, 2, 0, 4][usize::from(colour)];
    let bytes = (side as usize * channels * usize::from(depth) / 8 + 1) * side as usize;
    let mut header = side.to_be_bytes().to_vec();
    header.extend(side.to_be_bytes());
    header.extend([depth, colour, 0, 0, interlace]);
    let pixels = packed(0, bytes.div_ceil(1 << 20));
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &pixels),
        chunk(b"IEND", b""),
    ]
    .concat()
}

fn jpeg_with(marker: u8, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let picture = image::load_from_memory(&png(64, 48)).unwrap();
    image::codecs::jpeg::JpegEncoder::new(&mut plain)
        .encode_image(&picture)
        .unwrap();
    let length = ((body.len() + 2) as u16).to_be_bytes();
    [&plain[..2], &[0xFF, marker], &length, body, &plain[2..]].concat()
}

fn webp_with(kind: &[u8; 4], flag: u8, data: &[u8]) -> Vec<u8> {
    let mut plain = std::io::Cursor::new(Vec::new());
    let picture = image::load_from_memory(&png(64, 48)).unwrap();
    picture.write_to(&mut plain, image::ImageFormat::WebP).unwrap();
    let plain = plain.into_inner();
    let mut body = b"WEBPVP8X\x0a\0\0\0".to_vec();
    body.extend([flag, 0, 0, 0, 63, 0, 0, 47, 0, 0]);
    body.extend(&plain[12..]);
    body.extend(kind);
    body.extend((data.len() as u32).to_le_bytes());
    body.extend(data);
    body.extend(std::iter::repeat_n(0, data.len() % 2));
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// A HEIC of 20 MB whose items, places, properties and references would be compared with one another for hours.
fn heic_tables() -> Vec<u8> {
    let boxed = |kind: &[u8; 4], body: &[u8]| {
        [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), body].concat()
    };
    let item = boxed(b"infe", b"\x02\0\0\0\0\x07\0\0hvc1\0");
    let items = boxed(
        b"iinf",
        &[b"\0\0\0\0\0\x01".as_slice(), &item.repeat(300_000)].concat(),
    );
    let places = boxed(
        b"iloc",
        &[
            b"\x02\0\0\0\x44\0\0\x04\x93\xe0".as_slice(),
            &[0; 16].repeat(300_000),
        ]
        .concat(),
    );
    let properties = boxed(b"ipco", &boxed(b"irot", b"\0").repeat(300_000));
    let tables = [
        b"\0\0\0\0".as_slice(),
        &items,
        &places,
        &boxed(b"iprp", &properties),
    ]
    .concat();
    [boxed(b"ftyp", b"heic\0\0\0\0heic"), boxed(b"meta", &tables)].concat()
}

/// Name, media type, file.
pub fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let text = |kind: &[u8; 4], head: &[u8], byte| chunk(kind, &[head, &packed(byte, 450)].concat());
    let many: Vec<Vec<u8>> = {
        let one = chunk(b"zTXt", &[b"Comment\0\0", packed(b' ', 1).as_slice()].concat());
        vec![one; 2000]
    };
    let many_profiles = {
        let one = chunk(b"iCCP", &[b"p\0\0", packed(0, 1).as_slice()].concat());
        vec![one; 500]
    };
    let mut flat = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut flat)
        .encode_image(&image::RgbImage::from_pixel(7000, 7000, image::Rgb([9, 9, 9])))
        .unwrap();
    vec![
        (
            "links in a JPEG",
            "image/jpeg",
            jpeg_with(0xE1, &[b"Exif\0\0", &exif_bomb(65_000)[..]].concat()),
        ),
        (
            "links in a PNG",
            "image/png",
            png_with(&[chunk(b"eXIf", &exif_bomb(174_000))]),
        ),
        (
            "many links in a PNG",
            "image/png",
            png_with(&[chunk(b"eXIf", &exif_bomb(1_000_000))]),
        ),
        (
            "links in a WebP",
            "image/webp",
            webp_with(b"EXIF", 0x08, &exif_bomb(1_000_000)),
        ),
        ("profile", "image/png", png_with(&[text(b"iCCP", b"p\0\0", 0)])),
        ("profiles", "image/png", png_with(&many_profiles)),
        (
            "packed XMP",
            "image/png",
            png_with(&[text(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0", b' ')]),
        ),
        (
            "text XMP",
            "image/png",
            png_with(&[text(b"zTXt", b"XML:com.adobe.xmp\0\0", b'<')]),
        ),
        (
            "text EXIF",
            "image/png",
            png_with(&[text(b"zTXt", b"Raw profile type exif\0\0", b'0')]),
        ),
        ("texts", "image/png", png_with(&many)),
        ("a HEIC that is all tables", "image/heic", heic_tables()),
        ("black PNG", "image/png", empty_png(7000, 2, 8, 0)),
        ("black PNG with alpha", "image/png", empty_png(7000, 6, 8, 0)),
        ("deep PNG", "image/png", empty_png(7000, 6, 16, 0)),
        ("interlaced PNG", "image/png", empty_png(7000, 6, 8, 1)),
        ("one colour of a JPEG", "image/jpeg", flat),
        (
            "empty objects",
            "application/json",
            format!("[{}{{}}]", "{},".repeat(8_500_000)).into_bytes(),
        ),
        (
            "empty texts",
            "application/json",
            format!("{{\"a\":[{}\"\"]}}", "\"\",".repeat(8_500_000)).into_bytes(),
        ),
    ]
}

/// A real meal, as the input of a job.
pub fn honest_scan() -> Value {
    let photo = include_bytes!("../../fixtures/plates/scene_015/photo.jpg");
    json!({
        "image": {"base64": STANDARD.encode(photo)}, "pitch_deg": 23.4,
        "reference": {"kind": "plate", "diameter_cm": 29.2},
    })
}

async fn post(http: &reqwest::Client, service: &Service, kind: &str, file: Vec<u8>) -> (u16, Value) {
    let url = format!("{}/v1/scan", service.url);
    let request = http.post(url).header("content-type", kind).body(file);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Sends a photo and hangs up as soon as it is sent.
pub async fn hang_up(service: &Service, kind: &str, file: &[u8]) {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    let head = format!(
        "POST /v1/scan HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        service.address(),
        file.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(file).await.unwrap();
    // Taken in whole before it is dropped.
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_stay_within_memory_and_honest_jobs_end() {
    let mut service = Service::start(&[]);
    let http = client();
    service.ready(&http).await;
    let honest = json!({"input": honest_scan()});
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let request = http.post(format!("{}/run", service.url)).json(&honest);
        let view: Value = request.send().await.unwrap().json().await.unwrap();
        jobs.push(view["id"].as_str().unwrap().to_owned());
    }
    let mut before = service.peak_bytes();
    for (name, kind, file) in all() {
        for _ in 0..3 {
            hang_up(&service, kind, &file).await;
        }
        let (first, second) = tokio::join!(
            post(&http, &service, kind, file.clone()),
            post(&http, &service, kind, file)
        );
        for (status, body) in [first, second] {
            assert!(status < 500, "{name}: {status} {body}");
        }
        let peak = service.peak_bytes();
        eprintln!(
            "{name}: peak {} MB, {} more",
            peak / 1_000_000,
            (peak - before) / 1_000_000
        );
        before = peak;
        assert!(service.is_running(), "{name}");
        assert!(peak < CEILING, "{name}: {peak} bytes");
    }
    for id in jobs {
        let url = format!("{}/status-sync/{id}?wait=10000", service.url);
        let mut view = Value::Null;
        until("the honest job ends", async || {
            view = get(&http, url.clone()).await;
            !matches!(view["status"].as_str(), Some("IN_QUEUE" | "IN_PROGRESS"))
        })
        .await;
        assert_eq!(view["status"], "COMPLETED", "{view}");
    }
    assert!(service.peak_bytes() < CEILING);
}

/// A decode that nobody waits for any more keeps its turn and its memory until it ends.
#[tokio::test(flavor = "multi_thread")]
async fn hung_up_photos_are_not_decoded_all_at_once() {
    let service = Service::start(&["--engine", "stub"]);
    let http = client();
    service.ready(&http).await;
    let file = empty_png(7000, 2, 8, 0);
    for _ in 0..10 {
        hang_up(&service, "image/png", &file).await;
    }
    let (status, body) = post(&http, &service, "image/png", file).await;
    assert_eq!((status, &body["code"]), (422, &json!("image_blank")), "{body}");
    let peak = service.peak_bytes();
    eprintln!("peak {} MB", peak / 1_000_000);
    assert!(peak < 800_000_000, "{peak} bytes");
}

/// Bodies that come slowly, all together, are bounded; small requests are answered meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_have_a_bound() {
    let service = Service::start(&["--engine", "stub"]);
    let http = client();
    service.ready(&http).await;
    let part = vec![b' '; 24 << 20];
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(service.address()).await.unwrap();
        let head = format!(
            "POST /v1/scan HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            service.address(),
            25 << 20
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.write_all(&part)).await;
        slow.push(stream);
    }
    let (status, body) = post(&http, &service, "image/png", png(64, 48)).await;
    assert_eq!(status, 200, "{body}");
    let peak = service.peak_bytes();
    eprintln!("peak {} MB", peak / 1_000_000);
    assert!(peak < 500_000_000, "{peak} bytes");
}
