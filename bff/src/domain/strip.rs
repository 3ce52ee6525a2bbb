//! A photo without anything but its picture: no EXIF, place, serial number, thumbnail or text, and nothing behind its end,
//! where phones put a second picture or a film. Pixels are not touched.

mod boxes;
mod heic;

/// The file again with the picture only, and its content type. `None` for a kind that is not known well enough, and for
/// what does not read as one.
pub fn stripped(bytes: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes).map(|b| (b, "image/jpeg")),
        [0x89, b'P', b'N', b'G', ..] => png(bytes).map(|b| (b, "image/png")),
        [b'R', b'I', b'F', b'F', ..] => webp(bytes).map(|b| (b, "image/webp")),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => heic::heic(bytes).map(|b| (b, "image/heic")),
        _ => None,
    }
}

/// ITU T.81 annex B. Kept: what decoding needs, JFIF's header without its thumbnail, colour profiles, Adobe's transform.
fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0xff, 0xd8];
    let mut at = 2;
    loop {
        // Any number of fill bytes before a marker.
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let mut code = at + 1;
        while *bytes.get(code)? == 0xff {
            code += 1;
        }
        let marker = bytes[code];
        at = code + 1;
        match marker {
            0xd9 => {
                out.extend([0xff, 0xd9]);
                return Some(out);
            }
            0x01 | 0xd0..=0xd7 => continue,
            0x00 | 0xd8 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let segment = bytes.get(at..at + length)?;
        let body = segment.get(2..)?;
        at += length;
        match marker {
            0xe0 if body.starts_with(b"JFIF\0") => {
                // Version, unit and density; width and height of the thumbnail are 0.
                out.extend([0xff, 0xe0, 0, 16]);
                out.extend(body.get(..12)?);
                out.extend([0, 0]);
                continue;
            }
            0xe2 if body.starts_with(b"ICC_PROFILE\0") => {}
            0xee if body.starts_with(b"Adobe") => {}
            0xe0..=0xef | 0xfe => continue,
            _ => {}
        }
        out.extend([0xff, marker]);
        out.extend(segment);
        if marker == 0xda {
            // Coded data: until a marker that is neither a restart nor a stuffed zero.
            let begun = at;
            loop {
                match (bytes.get(at)?, bytes.get(at + 1)) {
                    (0xff, Some(0x00 | 0xd0..=0xd7)) => at += 2,
                    (0xff, Some(0xff)) => at += 1,
                    (0xff, Some(_)) => break,
                    (0xff, None) => return None,
                    _ => at += 1,
                }
            }
            out.extend(&bytes[begun..at]);
        }
    }
}

/// Kept: critical chunks and those that say what the numbers mean.
fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    const KEPT: [&[u8; 4]; 8] = [
        b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP", b"acTL",
    ];
    let mut out = bytes.get(..8)?.to_vec();
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
        let chunk = bytes.get(at..at.checked_add(length)?.checked_add(12)?)?;
        at += chunk.len();
        if kind[0].is_ascii_uppercase() || KEPT.contains(&&kind) {
            out.extend(chunk);
        }
        if &kind == b"IEND" {
            return Some(out);
        }
    }
}

/// RIFF chunks; the flags of VP8X follow what is left out.
fn webp(bytes: &[u8]) -> Option<Vec<u8>> {
    const EXIF_AND_XMP: u8 = 0b0000_1100;
    if bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let end = 8_usize.checked_add(u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize)?;
    let file = bytes.get(..end)?;
    let mut body = b"WEBP".to_vec();
    let mut at = 12;
    while at < file.len() {
        let kind: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        let length = u32::from_le_bytes(file.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        let padded = length.checked_add(length % 2)?;
        let chunk = file.get(at..at.checked_add(8)?.checked_add(padded)?)?;
        at += chunk.len();
        if matches!(
            &kind,
            b"VP8 " | b"VP8L" | b"VP8X" | b"ALPH" | b"ICCP" | b"ANIM" | b"ANMF"
        ) {
            let from = body.len();
            body.extend(chunk);
            if &kind == b"VP8X" {
                *body.get_mut(from + 8)? &= !EXIF_AND_XMP;
            }
        }
    }
    let mut out = b"RIFF".to_vec();
    out.extend(u32::try_from(body.len()).ok()?.to_le_bytes());
    out.extend(body);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 2).expect("short").to_be_bytes();
        [&[0xff, marker], &length[..], body].concat()
    }

    #[test]
    fn a_jpeg_loses_everything_but_its_picture() {
        let jfif = [b"JFIF\0\x01\x02\0\0\x01\0\x01\x02\x02".as_slice(), &[7; 12]].concat();
        let (quant, scan) = (
            segment(0xdb, &[1; 65]),
            segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]),
        );
        let coded = [0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56];
        let icc = segment(0xe2, b"ICC_PROFILE\0\x01\x01profile");
        let photo = [
            &[0xff, 0xd8][..],
            &segment(0xe0, &jfif),
            &segment(0xe1, b"Exif\0\0GPS canary"),
            &segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0canary"),
            &icc,
            &segment(0xe2, b"MPF\0canary"),
            &segment(0xed, b"Photoshop 3.0\0canary"),
            &segment(0xfe, b"canary"),
            &quant,
            &scan,
            &coded,
            &[0xff, 0xd9],
            b"film canary",
        ]
        .concat();
        let (clean, kind) = stripped(&photo).expect("a JPEG");
        assert_eq!(kind, "image/jpeg");
        let expected = [
            &[0xff, 0xd8][..],
            &segment(0xe0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0"),
            &icc,
            &quant,
            &scan,
            &coded,
            &[0xff, 0xd9],
        ]
        .concat();
        assert_eq!(clean, expected);
        assert_eq!(stripped(&clean).expect("again").0, clean);
        for cut in 0..clean.len() {
            assert_eq!(stripped(&clean[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_png_and_a_webp_do_too() {
        let chunk = |kind: &[u8], body: &[u8]| {
            let length = u32::try_from(body.len()).expect("short").to_be_bytes();
            [&length[..], kind, body, b"crc!"].concat()
        };
        let head = b"\x89PNG\r\n\x1a\n";
        let kept = [
            chunk(b"IHDR", &[0; 13]),
            chunk(b"sRGB", &[0]),
            chunk(b"IDAT", b"data"),
        ]
        .concat();
        let dropped = [
            chunk(b"eXIf", b"canary"),
            chunk(b"tEXt", b"canary"),
            chunk(b"tIME", b"canary!"),
        ]
        .concat();
        let end = chunk(b"IEND", b"");
        let photo = [&head[..], &kept, &dropped, &end, b"canary"].concat();
        let expected = [&head[..], &kept, &end].concat();
        assert_eq!(stripped(&photo), Some((expected, "image/png")));

        let riff = |chunks: &[u8]| {
            let size = u32::try_from(chunks.len() + 4).expect("short").to_le_bytes();
            [b"RIFF", &size[..], b"WEBP", chunks].concat()
        };
        let chunk = |kind: &[u8], body: &[u8]| {
            let size = u32::try_from(body.len()).expect("short").to_le_bytes();
            let pad = vec![0; body.len() % 2];
            [kind, &size[..], body, &pad].concat()
        };
        let (flags, clean_flags) = (
            [0b0010_1100, 0, 0, 0, 9, 0, 0, 9, 0, 0],
            [0b0010_0000, 0, 0, 0, 9, 0, 0, 9, 0, 0],
        );
        let exif = [chunk(b"EXIF", b"canary!"), chunk(b"XMP ", b"canary")].concat();
        let photo = riff(&[chunk(b"VP8X", &flags), chunk(b"VP8 ", b"frame"), exif].concat());
        let expected = riff(&[chunk(b"VP8X", &clean_flags), chunk(b"VP8 ", b"frame")].concat());
        assert_eq!(
            stripped(&[&photo[..], b"canary"].concat()),
            Some((expected, "image/webp"))
        );
    }

    #[test]
    fn other_kinds_are_not_guessed_at() {
        assert_eq!(stripped(b"\0\0\0\x18ftypavif...."), None);
        assert_eq!(stripped(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0usize..3, rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let head: [&[u8]; 3] = [&[0xff, 0xd8], b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBP"];
            let _ = stripped(&[head[kind], &rest].concat());
        }
    }
}
