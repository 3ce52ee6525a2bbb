//! A HEIC photo (ISO/IEC 23008-12) without anything but its picture. Items are found by their places in the file, so
//! nothing moves: all that is not the primary image, its tiles and what decoding and showing them needs is overwritten with
//! zeros. That takes EXIF, XMP, thumbnails, depth and gain maps, films, names and descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::boxes::{Cursor, Part, all_parts, parts};

/// Properties that decoding and showing need: coding, size, colour, turning, mirroring, cropping.
const PROPERTIES: [&[u8; 4]; 8] = [
    b"hvcC", b"ispe", b"colr", b"pixi", b"irot", b"imir", b"clap", b"pasp",
];

struct Item {
    kind: [u8; 4],
    kind_at: usize,
    /// Behind its kind: a name, and what else is text.
    texts: Range<usize>,
    protected: bool,
}

/// Where bytes of an item are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    File,
    /// The box `idat` of the same `meta`.
    Inside,
    Elsewhere,
}

#[derive(Default)]
struct Meta {
    primary: Option<u32>,
    items: BTreeMap<u32, Item>,
    places: BTreeMap<u32, Vec<(Store, Range<usize>)>>,
    references: Vec<Reference>,
    properties: Vec<Part>,
    /// By item: place in `properties`, and whether the item means nothing without it.
    uses: BTreeMap<u32, Vec<(usize, bool)>>,
    data: Option<Range<usize>>,
    /// All that is none of the above.
    other: Vec<Part>,
}

struct Reference {
    part: Part,
    from: u32,
    to: Vec<u32>,
}

/// The file again, as long as before or shorter. `None` for what does not read as such a photo.
pub(super) fn heic(bytes: &[u8]) -> Option<Vec<u8>> {
    // What stands behind the last box is no part of it.
    let (top, end) = parts(bytes, 0..bytes.len());
    (top.first()?.name == *b"ftyp").then_some(())?;
    let mut metas = top.iter().filter(|p| p.name == *b"meta");
    let (whole, None) = (metas.next()?, metas.next()) else {
        return None;
    };
    let mut out = bytes[..end].to_vec();
    let meta = Meta::read(bytes, whole, &mut out)?;
    let picture = meta.picture()?;
    meta.clear(&picture, &mut out)?;
    let mut kept: Vec<Range<usize>> = Vec::new();
    for id in &picture {
        for (store, place) in meta.places.get(id)? {
            match store {
                Store::File => kept.push(place.clone()),
                Store::Inside => {}
                Store::Elsewhere => return None,
            }
        }
    }
    let data = |p: &&Part| p.name == *b"mdat";
    let held = |place: &Range<usize>| top.iter().filter(data).any(|p| within(place, &p.content));
    kept.iter().all(held).then_some(())?;
    let mut last = end;
    for part in top.iter().rev() {
        match &part.name {
            b"ftyp" | b"meta" => last = 0,
            b"mdat" => {
                clear_between(&kept, &part.content, &mut out);
                last = 0;
            }
            _ if last == part.content.end => {
                // Nothing behind it is kept.
                last = part.at;
                out.truncate(last);
            }
            _ => part.clear(&mut out),
        }
    }
    Some(out)
}

fn within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Zeros in `all` but for the ranges that are kept.
fn clear_between(kept: &[Range<usize>], all: &Range<usize>, out: &mut [u8]) {
    let mut ranges: Vec<_> = kept.iter().filter(|r| within(r, all)).collect();
    ranges.sort_by_key(|r| r.start);
    let mut at = all.start;
    for range in ranges {
        if at < range.start {
            out[at..range.start].fill(0);
        }
        at = at.max(range.end);
    }
    out[at..all.end].fill(0);
}

impl Meta {
    fn read(bytes: &[u8], whole: &Part, out: &mut [u8]) -> Option<Self> {
        let mut meta = Self::default();
        let (_, inner) = whole.full(bytes)?;
        for part in all_parts(bytes, inner)? {
            match &part.name {
                b"hdlr" => {
                    let mut c = Cursor::over(bytes, part.full(bytes)?.1);
                    c.take(4)?;
                    (c.take(4)? == b"pict").then_some(())?;
                    // Its name.
                    out[c.rest()].fill(0);
                }
                b"pitm" => {
                    let (version, rest) = part.full(bytes)?;
                    meta.primary = Some(Cursor::over(bytes, rest).short(version > 0)?);
                }
                b"iinf" => meta.read_items(bytes, &part)?,
                b"iloc" => meta.read_places(bytes, &part)?,
                b"iref" => meta.read_references(bytes, &part)?,
                b"iprp" => meta.read_properties(bytes, &part)?,
                b"idat" => meta.data = Some(part.content.clone()),
                _ => meta.other.push(part),
            }
        }
        Some(meta)
    }

    fn read_items(&mut self, bytes: &[u8], part: &Part) -> Option<()> {
        let (version, rest) = part.full(bytes)?;
        let mut c = Cursor::over(bytes, rest);
        c.short(version > 0)?;
        for entry in all_parts(bytes, c.rest())? {
            let (version, rest) = entry.full(bytes)?;
            (entry.name == *b"infe" && matches!(version, 2 | 3)).then_some(())?;
            let mut c = Cursor::over(bytes, rest);
            let id = c.short(version == 3)?;
            let protected = c.uint(2)? != 0;
            let kind_at = c.at;
            let item = Item {
                kind: c.take(4)?.try_into().ok()?,
                kind_at,
                texts: c.rest(),
                protected,
            };
            self.items.insert(id, item).is_none().then_some(())?;
        }
        Some(())
    }

    fn read_places(&mut self, bytes: &[u8], part: &Part) -> Option<()> {
        let (version, rest) = part.full(bytes)?;
        (version <= 2).then_some(())?;
        let mut c = Cursor::over(bytes, rest);
        let sizes = c.uint(2)?;
        let size = |shift: u32| usize::try_from((sizes >> shift) & 15).ok().filter(|n| *n <= 8);
        let (offset, length, base, index) = (size(12)?, size(8)?, size(4)?, size(0)?);
        let count = c.short(version == 2)?;
        for _ in 0..count {
            let id = c.short(version == 2)?;
            let method = if version == 0 { 0 } else { c.uint(2)? & 15 };
            let here = c.uint(2)? == 0;
            let base = c.uint(base)?;
            let store = match (method, here) {
                (0, true) => Store::File,
                (1, true) => Store::Inside,
                _ => Store::Elsewhere,
            };
            let extents = c.uint(2)?;
            let mut places = Vec::new();
            for _ in 0..extents {
                if version > 0 {
                    c.uint(index)?;
                }
                let start = usize::try_from(base.checked_add(c.uint(offset)?)?).ok()?;
                let end = start.checked_add(usize::try_from(c.uint(length)?).ok()?)?;
                // Of length 0 would be everything.
                let store = if start == end { Store::Elsewhere } else { store };
                places.push((store, start..end));
            }
            self.places.insert(id, places).is_none().then_some(())?;
        }
        Some(())
    }

    fn read_references(&mut self, bytes: &[u8], part: &Part) -> Option<()> {
        let (version, rest) = part.full(bytes)?;
        for part in all_parts(bytes, rest)? {
            let mut c = Cursor::over(bytes, part.content.clone());
            let from = c.short(version > 0)?;
            let count = c.uint(2)?;
            let to = (0..count).map(|_| c.short(version > 0)).collect::<Option<_>>()?;
            self.references.push(Reference { part, from, to });
        }
        Some(())
    }

    fn read_properties(&mut self, bytes: &[u8], part: &Part) -> Option<()> {
        for part in all_parts(bytes, part.content.clone())? {
            match &part.name {
                b"ipco" => self.properties = all_parts(bytes, part.content)?,
                b"ipma" => self.read_uses(bytes, &part)?,
                _ => self.other.push(part),
            }
        }
        Some(())
    }

    fn read_uses(&mut self, bytes: &[u8], part: &Part) -> Option<()> {
        let (version, rest) = part.full(bytes)?;
        let wide = bytes.get(rest.start - 1)? & 1 == 1;
        let mut c = Cursor::over(bytes, rest);
        let count = c.uint(4)?;
        for _ in 0..count {
            let id = c.short(version > 0)?;
            let uses = self.uses.entry(id).or_default();
            for _ in 0..c.uint(1)? {
                let (value, essential) = if wide {
                    let v = c.uint(2)?;
                    (v & 0x7fff, v >> 15 == 1)
                } else {
                    let v = c.uint(1)?;
                    (v & 0x7f, v >> 7 == 1)
                };
                // 0 is none.
                if let Some(index) = usize::try_from(value).ok()?.checked_sub(1) {
                    uses.push((index, essential));
                }
            }
        }
        Some(())
    }

    /// The primary image and what it is put together from.
    fn picture(&self) -> Option<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        let mut left = vec![self.primary?];
        while let Some(id) = left.pop() {
            if !found.insert(id) {
                continue;
            }
            let item = self.items.get(&id)?;
            (!item.protected && matches!(&item.kind, b"hvc1" | b"grid" | b"iden")).then_some(())?;
            let parts = self.references.iter();
            let parts = parts.filter(|r| r.from == id && r.part.name == *b"dimg");
            left.extend(parts.flat_map(|r| &r.to));
        }
        Some(found)
    }

    fn clear(&self, picture: &BTreeSet<u32>, out: &mut [u8]) -> Option<()> {
        for (id, item) in &self.items {
            if !picture.contains(id) {
                out[item.kind_at..item.kind_at + 4].copy_from_slice(b"free");
            }
            out[item.texts.clone()].fill(0);
        }
        for reference in self.references.iter().filter(|r| !picture.contains(&r.from)) {
            out[reference.part.at + 4..reference.part.at + 8].copy_from_slice(b"free");
        }
        for (index, property) in self.properties.iter().enumerate() {
            if PROPERTIES.contains(&&property.name) {
                continue;
            }
            let mut uses = picture.iter().filter_map(|id| self.uses.get(id)).flatten();
            if uses.any(|(used, essential)| *used == index && *essential) {
                return None;
            }
            property.clear(out);
        }
        for part in &self.other {
            part.clear(out);
        }
        let data = self.data.clone().unwrap_or_default();
        let mut kept = Vec::new();
        let places = picture.iter().filter_map(|id| self.places.get(id)).flatten();
        for (_, place) in places.filter(|(store, _)| *store == Store::Inside) {
            let place = data.start.checked_add(place.start)?..data.start.checked_add(place.end)?;
            within(&place, &data).then_some(())?;
            kept.push(place);
        }
        clear_between(&kept, &data, out);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Still, turned, tiled with thumbnail and EXIF, with alpha, grey.
    const PHOTOS: [&[u8]; 5] = [
        include_bytes!("../../../../fixtures/tiny/heif/420.heic"),
        PHONE,
        include_bytes!("../../../../fixtures/tiny/heif/iphone.heic"),
        include_bytes!("../../../../fixtures/tiny/heif/alpha.heic"),
        include_bytes!("../../../../fixtures/tiny/heif/grey.heic"),
    ];
    /// Upright by `irot`; its EXIF is the last thing in it.
    const PHONE: &[u8] = include_bytes!("../../../../fixtures/tiny/heif/turned-6.heic");

    fn has(bytes: &[u8], what: &[u8]) -> bool {
        bytes.windows(what.len()).any(|w| w == what)
    }

    fn replaced(bytes: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
        assert_eq!(what.len(), by.len());
        let at = bytes.windows(what.len()).position(|w| w == what).expect("there");
        [&bytes[..at], by, &bytes[at + by.len()..]].concat()
    }

    #[test]
    fn pixels_are_those_of_the_photo_and_nothing_else_is_left() {
        for photo in PHOTOS {
            let clean = heic(photo).expect("a photo");
            for trace in [&b"Exif"[..], b"Apple", b"iPhone", b"MM\0*", b"II*\0"] {
                assert!(!has(&clean, trace), "{}", String::from_utf8_lossy(trace));
            }
            assert_eq!(heic(&clean).expect("again"), clean);
            let (was, is) = (heifer::decode(photo), heifer::decode(&clean));
            let (was, is) = (was.expect("pixels"), is.expect("pixels"));
            assert_eq!((was.width, was.height), (is.width, is.height));
            let opaque = |mut rgba: Vec<u8>| {
                rgba.iter_mut().skip(3).step_by(4).for_each(|a| *a = 255);
                rgba
            };
            assert!(opaque(was.to_rgba8()) == opaque(is.to_rgba8()), "other pixels");
        }
    }

    #[test]
    fn what_hides_elsewhere_goes_too() {
        let exif = PHONE.len() - 12;
        let mut photo = [&PHONE[..exif], b"GPS canary !"].concat();
        // A description among the properties, a film behind the photo, and bytes that are no box behind that.
        photo = replaced(&photo, b"pixi\0\0\0\0\x03\x08\x08\x08", b"udes\0\0canary");
        photo.extend(b"\0\0\0\x12mpvdcanary.mp4");
        photo.extend(b"SEFT canary");
        let clean = heic(&photo).expect("a photo");
        assert!(!has(&clean, b"canary") && !has(&clean, b"GPS"));
        assert_eq!(clean.len(), PHONE.len());
        // In front of the picture, which stays where it is then.
        let film = b"\0\0\0\x14uuidcanarycanary";
        let mut photo = [&PHONE[..28], film, &PHONE[28..]].concat();
        for place in [453_u32, 732] {
            let at = |place: u32| [&place.to_be_bytes()[..], &[0, 1]].concat();
            photo = replaced(&photo, &at(place), &at(place + 20));
        }
        let clean = heic(&photo).expect("a photo");
        assert!(!has(&clean, b"canary"));
        assert_eq!(clean.len(), photo.len());
    }

    #[test]
    fn what_is_not_understood_is_not_passed_on() {
        // A property that the image means nothing without; a coding that is not known; no image.
        for (what, by) in [
            (&b"irot"[..], &b"rotx"[..]),
            (b"hvc1", b"av01"),
            (b"pitm", b"pitx"),
            (b"meta", b"metx"),
            (b"iloc\0", b"iloc\x07"),
        ] {
            assert_eq!(
                heic(&replaced(PHONE, what, by)),
                None,
                "{}",
                String::from_utf8_lossy(by)
            );
        }
        assert_eq!(heic(b"\0\0\0\x18ftypheic...."), None);
        for cut in 0..PHONE.len() {
            assert_eq!(heic(&PHONE[..cut]), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in prop::collection::vec((0..PHONE.len(), any::<u8>()), 1..8)) {
            let mut photo = PHONE.to_vec();
            at.into_iter().for_each(|(at, byte)| photo[at] = byte);
            if let Some(clean) = heic(&photo) {
                prop_assert!(clean.len() <= photo.len());
            }
        }
    }
}
