//! Everything that reads what strangers wrote, one function each: it may refuse, it may not panic, hang, or take more
//! memory than it says. `targets/` gives them to libFuzzer, `tests/mutations.rs` of the service to a driver of its own.

use std::path::PathBuf;

use dragunov::contract::depth_map::DepthMap;
use dragunov::contract::{Fault, ScanError};
use dragunov::identify::openai::{read_answer, read_boxes};
use dragunov::intake::exif::ExifFacts;
use dragunov::intake::validate::{self, RequestLimits};
use dragunov::intake::{DecodeLimits, DepthInput, Shot, SourceMeta, read_photo};
use dragunov::nutrition::FoodTable;
use dragunov::recompute::{place, recompute};
use dragunov::runtime::{JobInput, json};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::{depth_anything, qwen_vl, sam};

/// Small enough to try many a second.
fn limits() -> DecodeLimits {
    DecodeLimits {
        max_pixels: 1 << 20,
        max_alloc_bytes: 32 << 20,
        min_side: 1,
        refuse_blank: false,
        ..DecodeLimits::default()
    }
}

fn read(bytes: &[u8]) -> Option<dragunov::intake::Photo> {
    read_photo(bytes, &Shot::default(), &SourceMeta::default(), &limits()).ok()
}

/// A file of any format.
pub fn photo(data: &[u8]) {
    if let Some(photo) = read(data) {
        assert!(photo.image.width() * photo.image.height() <= 1 << 20);
        assert!((1..=8).contains(&photo.orientation));
        assert!(photo.camera.focal_px.is_finite() && photo.camera.focal_px > 0.0);
    }
}

/// A HEIC or AVIF, and the same bytes as noise on the pixels of good ones: a damaged container hardly ever lets them be reached.
pub fn heif(data: &[u8]) {
    photo(data);
    const GOOD: [&[u8]; 2] = [
        include_bytes!("../corpus/heif/hlg.heic"),
        include_bytes!("../corpus/heif/odd-420.avif"),
    ];
    for good in GOOD {
        let pixels = good
            .windows(4)
            .position(|kind| kind == b"mdat")
            .map_or(0, |at| at + 4);
        if let [high, low, noise @ ..] = data {
            let at = pixels + usize::from(u16::from_be_bytes([*high, *low])) % (good.len() - pixels);
            let mut noisy = good.to_vec();
            noisy[at..]
                .iter_mut()
                .zip(noise)
                .take(8)
                .for_each(|(byte, n)| *byte ^= n);
            photo(&noisy);
        }
    }
}

/// The same block as EXIF, and in every place where a PNG may keep metadata: the picture survives all of them.
pub fn metadata(data: &[u8]) {
    let _ = ExifFacts::read(data);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", b"\0\0\0\x02\0\0\0\x02\x08\x02\0\0\0");
    let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = std::io::Write::write_all(&mut pixels, &[0; 14]).and_then(|()| pixels.finish());
    chunk(&mut png, b"eXIf", data);
    for (kind, head) in [
        (b"iCCP", b"p\0\0".as_slice()),
        (b"tEXt", b"Raw profile type exif\0"),
        (b"zTXt", b"Raw profile type APP1\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0"),
    ] {
        chunk(&mut png, kind, &[head, data].concat());
    }
    chunk(&mut png, b"IDAT", &written.unwrap_or_default());
    chunk(&mut png, b"IEND", b"");
    assert!(read(&png).is_some(), "metadata lost the picture");
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend(crc.sum().to_be_bytes());
}

/// A file of this process, written anew each time.
fn file(name: &str, data: &[u8]) -> Option<PathBuf> {
    let dir = std::env::temp_dir().join(format!("dragunov-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).ok()?;
    let path = dir.join(name);
    std::fs::write(&path, data).ok()?;
    Some(path)
}

/// Names and shapes of a safetensors file.
pub fn safetensors(data: &[u8]) {
    let tensors = file("a.safetensors", data).and_then(|path| Checkpoint::open(path).ok());
    let _ = tensors.map(|c| c.stored_tensors());
}

/// The same of a file of `torch.save`.
pub fn pickle(data: &[u8]) {
    let tensors = file("a.pth", data).and_then(|path| Checkpoint::open(path).ok());
    let _ = tensors.map(|c| c.stored_tensors());
}

/// A `config.json` of any of the models.
pub fn config(data: &[u8]) {
    let _ = serde_json::from_slice::<sam::SamConfig>(data);
    if let Some(checkpoint) = file("config.json", data).and_then(|path| Checkpoint::open(path.parent()?).ok())
    {
        let _ = depth_anything::config::Config::read(&checkpoint);
        let _ = qwen_vl::Config::read(&checkpoint);
    }
}

/// The input of a job.
pub fn job(data: &[u8]) {
    let Ok(value) = json::parse(data) else {
        return;
    };
    if let Ok(JobInput::Scan(request)) = JobInput::parse(value, false) {
        let _ = validate::request(&request, &RequestLimits::default());
    }
}

/// A refusal has the sender's code: nothing that a stranger sends is the service's own fault.
fn of_sender(error: &ScanError) {
    assert!(error.code.fault() == Fault::Client, "{error:?}");
}

/// A phone's depth map: its description on the first line, then the raster, and after that the confidence, if there is one. Laid over a
/// photo of its own shape and over one of another.
pub fn depth_map(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(head), Some(rest)) = (parts.next(), parts.next()) else {
        return;
    };
    let Ok(map) = serde_json::from_slice::<DepthMap>(head) else {
        return;
    };
    let values = map.width.unwrap_or(0).saturating_mul(map.height.unwrap_or(0));
    let at = match &map.confidence {
        Some(_) => rest.len().saturating_sub(values),
        None => rest.len(),
    };
    let input = DepthInput {
        data: rest[..at].to_vec(),
        confidence: map.confidence.is_some().then(|| rest[at..].to_vec()),
        map,
    };
    for (width, height) in [(96, 72), (72, 96), (50, 50)] {
        match input.over_photo(width, height) {
            Ok(Some(depth)) => {
                let known = depth.metres.values().iter().filter(|z| **z > 0.0).count();
                assert!(depth.metres.values().iter().all(|z| z.is_finite() && *z >= 0.0));
                assert!(known > 0 && depth.sigma_rel.is_finite());
            }
            Ok(None) => {}
            Err(error) => of_sender(&error),
        }
    }
}

/// The input of a job that corrects a result. What comes out is finite and says what it was made of.
pub fn corrections(data: &[u8]) {
    let Ok(value) = json::parse(data) else {
        return;
    };
    let Ok(JobInput::Recompute(request)) = JobInput::parse(value, false) else {
        return;
    };
    if let Err(error) = place::scan_of(&request) {
        of_sender(&error);
    }
    let edits = request.edits.len();
    match recompute(*request, &FoodTable::builtin()) {
        Ok(result) => {
            let amounts = result.items.iter().flat_map(|i| [i.mass_g, i.kcal, i.volume_cm3]);
            for e in amounts.chain([result.totals.mass_g, result.totals.kcal]) {
                assert!(
                    [e.p10, e.p50, e.p90].iter().all(|v| v.is_finite() && *v >= 0.0),
                    "{e:?}"
                );
                assert!(e.p10 <= e.p50 && e.p50 <= e.p90, "{e:?}");
            }
            assert!(result.original.is_some() && result.edits.len() == edits);
        }
        Err(error) => of_sender(&error),
    }
}

/// The answer of a vision API.
pub fn vision(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = read_answer(&text);
    if let Ok(found) = read_boxes(&text, [1008, 756], [4032, 3024]) {
        let sides = found
            .items
            .iter()
            .flat_map(|i| [i.bbox.x0, i.bbox.y0, i.bbox.x1, i.bbox.y1]);
        assert!(sides.into_iter().all(f64::is_finite));
    }
}
