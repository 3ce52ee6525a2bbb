//! Bounds on a container's tables, checked before anything is built of them.
//!
//! What reads them compares every item with every place and every property: a few megabytes of tables would take hours.

use heifer::heifer_isobmff::{BoxIter, RawBox};

use crate::contract::ScanError;
use crate::intake::container::{MAX_ICC, foreign, unreadable};

/// Bytes of all tables but the properties. A photo of 200 megapixels in 768 tiles has 40 kB of them.
const MAX_TABLES: usize = 128 << 10;
/// Bytes of all properties; colour profiles are among them.
const MAX_PROPERTIES: usize = MAX_ICC + (128 << 10);
/// Properties, counted. Phones write some thirty.
const MAX_PROPERTY_COUNT: usize = 1024;

/// The file up to what follows its last whole box: trailers of phones' makers are no boxes. Its tables are within their
/// bounds.
///
/// # Errors
/// `image_unreadable` for tables over their bounds and for files that end within a box, `image_format` for those that hold
/// no still.
pub(super) fn bounded(bytes: &[u8]) -> Result<&[u8], ScanError> {
    let mut end = 0;
    let mut still = false;
    for found in BoxIter::new(bytes) {
        let Ok(found) = found else {
            let kind = bytes.get(end + 4..end + 8);
            if kind.is_some_and(|k| [b"mdat", b"meta", b"moov", b"idat"].iter().any(|c| k == *c)) {
                return Err(unreadable("the file ends before its pixels"));
            }
            break;
        };
        if found.header.box_type.0 == *b"meta" {
            still = true;
            tables(&found)?;
        }
        end = found.offset + found.header.header_size as usize + found.content.len();
    }
    if !still {
        return Err(foreign("it holds no still picture; a film is no photo"));
    }
    Ok(&bytes[..end])
}

fn tables(meta: &RawBox<'_>) -> Result<(), ScanError> {
    let (mut bytes, mut properties, mut count) = (0, 0, 0);
    let children = meta.content.get(4..).unwrap_or_default();
    for child in BoxIter::new(children).flatten() {
        match &child.header.box_type.0 {
            // Data, not a table.
            b"idat" => {}
            b"iprp" => {
                for part in BoxIter::new(child.content).flatten() {
                    if part.header.box_type.0 == *b"ipco" {
                        properties += part.content.len();
                        count += BoxIter::new(part.content).count();
                    } else {
                        bytes += part.content.len();
                    }
                }
            }
            _ => bytes += child.content.len(),
        }
    }
    if bytes > MAX_TABLES || properties > MAX_PROPERTIES || count > MAX_PROPERTY_COUNT {
        return Err(unreadable("its tables are larger than any photo's"));
    }
    Ok(())
}
