//! The few EXIF numbers the service needs. GPS, owner, serial numbers and time are not looked at.

/// What the file says of its camera. Every field may be absent or wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExifFacts {
    /// Orientation tag, 1 to 8.
    pub orientation: Option<u8>,
    pub make: String,
    pub model: String,
    pub focal_mm: Option<f64>,
    /// 35 mm equivalent focal length, an integer in the file.
    pub f35_mm: Option<f64>,
    /// 1 where absent.
    pub digital_zoom: Option<f64>,
    /// Sensor resolution at capture, pixels per mm.
    pub focal_plane_px_per_mm: Option<f64>,
    /// Size at capture, as stored (before the orientation).
    pub size_at_capture: Option<(u32, u32)>,
    /// Apple MakerNote 0x0008: gravity in device axes, in g.
    pub apple_acceleration: Option<[f64; 3]>,
}

impl ExifFacts {
    /// From a TIFF block (with or without `Exif\0\0`). Damaged entries are skipped. Two directories are read, the first
    /// and EXIF's own, and of each a bounded number of entries; nothing is copied and no other link is followed.
    pub fn read(block: &[u8]) -> Self {
        let block = block
            .strip_prefix(b"Exif\0")
            .map_or(block, |rest| rest.get(1..).unwrap_or_default());
        let Some(tiff) = Tiff::open(block) else {
            return Self::default();
        };
        let main = tiff.directory(tiff.first);
        let exif = find(&main, EXIF_IFD)
            .and_then(|v| v.uint())
            .map(|at| tiff.directory(at as usize))
            .unwrap_or_default();
        let of_main = |tag| find(&main, tag);
        let of_exif = |tag| find(&exif, tag);
        let positive = |tag| {
            of_exif(tag)
                .and_then(|v| v.real())
                .filter(|x| x.is_finite() && *x > 0.0)
        };
        let unit_mm = match of_exif(FOCAL_PLANE_UNIT).and_then(|v| v.uint()) {
            Some(3) => 10.0,
            Some(4) => 1.0,
            Some(5) => 1e-3,
            _ => 25.4,
        };
        let side = |tag| of_exif(tag).and_then(|v| v.uint()).filter(|&n| n > 0);
        Self {
            orientation: of_main(ORIENTATION)
                .and_then(|v| v.uint())
                .and_then(|v| u8::try_from(v).ok())
                .filter(|v| (1..=8).contains(v)),
            make: of_main(MAKE).map(|v| v.text()).unwrap_or_default(),
            model: of_main(MODEL).map(|v| v.text()).unwrap_or_default(),
            focal_mm: positive(FOCAL_LENGTH).filter(|f| (0.5..2000.0).contains(f)),
            f35_mm: positive(FOCAL_LENGTH_35).filter(|f| (6.0..=1000.0).contains(f)),
            digital_zoom: positive(DIGITAL_ZOOM).filter(|z| (1.0..=200.0).contains(z)),
            focal_plane_px_per_mm: positive(FOCAL_PLANE_X).map(|r| r / unit_mm),
            size_at_capture: side(PIXEL_X).zip(side(PIXEL_Y)),
            apple_acceleration: of_exif(MAKER_NOTE).and_then(|v| apple_acceleration(v.bytes)),
        }
    }
}

const MAKE: u16 = 0x010F;
const MODEL: u16 = 0x0110;
const ORIENTATION: u16 = 0x0112;
const EXIF_IFD: u16 = 0x8769;
const FOCAL_LENGTH: u16 = 0x920A;
const MAKER_NOTE: u16 = 0x927C;
const PIXEL_X: u16 = 0xA002;
const PIXEL_Y: u16 = 0xA003;
const FOCAL_PLANE_X: u16 = 0xA20E;
const FOCAL_PLANE_UNIT: u16 = 0xA210;
const DIGITAL_ZOOM: u16 = 0xA404;
const FOCAL_LENGTH_35: u16 = 0xA405;

/// Cameras write some sixty.
const MAX_ENTRIES: usize = 512;

/// A TIFF block (TIFF 6.0, section 2).
#[derive(Clone, Copy)]
struct Tiff<'a> {
    block: &'a [u8],
    big: bool,
    first: usize,
}

/// The value of one entry, as it stands in the block.
#[derive(Clone, Copy)]
struct Field<'a> {
    tag: u16,
    kind: u16,
    bytes: &'a [u8],
    big: bool,
}

fn find<'a>(directory: &[Field<'a>], tag: u16) -> Option<Field<'a>> {
    directory.iter().find(|f| f.tag == tag).copied()
}

impl<'a> Tiff<'a> {
    fn open(block: &'a [u8]) -> Option<Self> {
        let big = match block.get(..4)? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        let first = u32_of(block.get(4..8)?, big)? as usize;
        Some(Self { block, big, first })
    }

    /// Entries whose values lie within the block.
    fn directory(self, at: usize) -> Vec<Field<'a>> {
        let Some(rest) = self.block.get(at..) else {
            return Vec::new();
        };
        let Some(count) = rest.get(..2).and_then(|b| u16_of(b, self.big)) else {
            return Vec::new();
        };
        let entries = rest[2..].chunks_exact(12);
        entries
            .take(usize::from(count).min(MAX_ENTRIES))
            .filter_map(|entry| self.field(entry))
            .collect()
    }

    fn field(self, entry: &'a [u8]) -> Option<Field<'a>> {
        let (tag, kind) = (u16_of(&entry[..2], self.big)?, u16_of(&entry[2..4], self.big)?);
        let unit = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let length = unit * u32_of(&entry[4..8], self.big)? as usize;
        let bytes = if length <= 4 {
            &entry[8..8 + length]
        } else {
            let at = u32_of(&entry[8..12], self.big)? as usize;
            self.block.get(at..at.checked_add(length)?)?
        };
        Some(Field {
            tag,
            kind,
            bytes,
            big: self.big,
        })
    }
}

impl Field<'_> {
    /// The first of its whole numbers.
    fn uint(self) -> Option<u32> {
        match self.kind {
            1 => self.bytes.first().map(|&b| u32::from(b)),
            3 => u16_of(self.bytes.get(..2)?, self.big).map(u32::from),
            4 => u32_of(self.bytes.get(..4)?, self.big),
            _ => None,
        }
    }

    /// The first of its numbers.
    fn real(self) -> Option<f64> {
        let half = |at: usize| u32_of(self.bytes.get(at..at + 4)?, self.big);
        match self.kind {
            5 => Some(f64::from(half(0)?) / f64::from(half(4)?)),
            10 => Some(f64::from(half(0)? as i32) / f64::from(half(4)? as i32)),
            11 => Some(f64::from(f32::from_bits(half(0)?))),
            12 => {
                let (a, b) = (u64::from(half(0)?), u64::from(half(4)?));
                let (high, low) = if self.big { (a, b) } else { (b, a) };
                Some(f64::from_bits(high << 32 | low))
            }
            _ => self.uint().map(f64::from),
        }
    }

    /// Printable ASCII up to the first null, at most 64 characters.
    fn text(self) -> String {
        if self.kind != 2 {
            return String::new();
        }
        let text: String = (self.bytes.iter())
            .take_while(|b| **b != 0)
            .filter(|b| (0x20..0x7f).contains(*b))
            .take(64)
            .map(|&b| char::from(b))
            .collect();
        text.trim().to_owned()
    }
}

fn u16_of(bytes: &[u8], big: bool) -> Option<u16> {
    let b: [u8; 2] = bytes.try_into().ok()?;
    Some(if big {
        u16::from_be_bytes(b)
    } else {
        u16::from_le_bytes(b)
    })
}

fn u32_of(bytes: &[u8], big: bool) -> Option<u32> {
    let b: [u8; 4] = bytes.try_into().ok()?;
    Some(if big {
        u32::from_be_bytes(b)
    } else {
        u32::from_le_bytes(b)
    })
}

/// Tag 0x0008 (three signed rationals) of Apple's MakerNote: `Apple iOS\0`, version, byte order, then an IFD with
/// offsets from the note's start.
fn apple_acceleration(note: &[u8]) -> Option<[f64; 3]> {
    if !note.starts_with(b"Apple iOS\0") {
        return None;
    }
    let big = match note.get(12..14)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let u16_at = |at: usize| u16_of(note.get(at..at.checked_add(2)?)?, big);
    let i32_at = |at: usize| u32_of(note.get(at..at.checked_add(4)?)?, big).map(|v| v as i32);
    let entries = usize::from(u16_at(14)?);
    for i in 0..entries.min(MAX_ENTRIES) {
        let at = 16 + 12 * i;
        if u16_at(at)? != 0x0008 {
            continue;
        }
        // 10 = SRATIONAL
        if u16_at(at + 2)? != 10 || i32_at(at + 4)? != 3 {
            return None;
        }
        let data = usize::try_from(i32_at(at + 8)?).ok()?;
        let mut v = [0.0; 3];
        for (k, out) in v.iter_mut().enumerate() {
            let num = i32_at(data.checked_add(8 * k)?)?;
            let den = i32_at(data.checked_add(8 * k + 4)?)?;
            if den == 0 {
                return None;
            }
            *out = f64::from(num) / f64::from(den);
        }
        return Some(v);
    }
    None
}
