//! Photos in text.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::contract::{ErrorCode, ScanError};

/// Standard base64, padded or not, line breaks allowed, optionally as a `data:` URL.
pub(super) fn decode(text: &str, cap: usize) -> Result<Vec<u8>, ScanError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = text.trim_start();
    let data_url = text.get(..5).filter(|start| start.eq_ignore_ascii_case("data:"));
    let body = match data_url {
        None => text,
        Some(start) => match text[start.len()..].split_once(',') {
            Some((head, body)) if head.to_ascii_lowercase().ends_with(";base64") => body,
            _ => {
                return Err(ScanError::new(
                    ErrorCode::BadRequest,
                    "image.base64 is a data: URL without ;base64 data",
                ));
            }
        },
    };
    // 4 characters make 3 bytes; line breaks can only make the text longer.
    if body.len() / 4 > cap / 3 + 1 && body.len() / 4 * 3 > cap + cap / 16 {
        return Err(ScanError::photo_too_large((body.len() / 4 * 3) as u64, cap));
    }
    let bytes = if body.bytes().any(|b| b.is_ascii_whitespace()) {
        let tight: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        LENIENT.decode(tight)
    } else {
        LENIENT.decode(body)
    }
    .map_err(|e| {
        ScanError::new(
            ErrorCode::BadRequest,
            format!("image.base64 is not standard base64: {e}"),
        )
        .next_step("send the file's bytes in standard base64 (RFC 4648), optionally as a data: URL")
    })?;
    if bytes.len() > cap {
        return Err(ScanError::photo_too_large(bytes.len() as u64, cap));
    }
    Ok(bytes)
}
