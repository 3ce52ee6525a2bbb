//! HEIC containers of hand-made tables that lie.

use std::time::{Duration, Instant};

use dragunov::contract::ErrorCode;

use crate::heif::fixture;
use crate::read;

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), &body].concat()
}

/// A container of hand-made tables. Item 1 is a grid of `columns` x `rows` tiles, all of them item 2; its pixels are those
/// of a real still.
struct Container {
    columns: u8,
    rows: u8,
    size: (u16, u16),
    tile: (u32, u32),
    /// What the grid refers to.
    tiles: Vec<u16>,
    more_items: Vec<u8>,
    more_properties: Vec<u8>,
    /// How often the pixels of item 2 stand in its data.
    copies: usize,
    /// Pieces that its data are said to lie in.
    pieces: u16,
}

impl Default for Container {
    fn default() -> Self {
        Self {
            columns: 2,
            rows: 1,
            size: (180, 66),
            tile: (90, 66),
            tiles: vec![2, 2],
            more_items: Vec::new(),
            more_properties: Vec::new(),
            copies: 1,
            pieces: 1,
        }
    }
}

impl Container {
    fn file(&self) -> Vec<u8> {
        let still = fixture("420.heic");
        let find = |kind: &[u8; 4]| {
            let at = still.windows(4).position(|w| w == kind).unwrap() - 4;
            let size = u32::from_be_bytes(still[at..at + 4].try_into().unwrap()) as usize;
            &still[at..at + size]
        };
        let pixels = find(b"mdat")[8..].repeat(self.copies);
        let ispe = |w: u32, h: u32| boxed(b"ispe", &[&[0; 4], &w.to_be_bytes(), &h.to_be_bytes()]);
        let item = |id: u8, kind: &[u8; 4]| boxed(b"infe", &[&[2, 0, 0, 0, 0, id, 0, 0], kind, &[0]]);
        let grid = [
            [0, 0, self.rows - 1, self.columns - 1].as_slice(),
            &self.size.0.to_be_bytes(),
            &self.size.1.to_be_bytes(),
        ]
        .concat();
        let ftyp = boxed(b"ftyp", &[b"heic\0\0\0\0mif1heic"]);
        let tiles: Vec<u8> = self.tiles.iter().flat_map(|id| id.to_be_bytes()).collect();
        let meta = |pixels_at: u32| {
            let piece = pixels.len() as u32 / u32::from(self.pieces);
            let pieces: Vec<u8> = (0..u32::from(self.pieces))
                .flat_map(|i| [pixels_at + i * piece, piece])
                .flat_map(u32::to_be_bytes)
                .collect();
            let places = [
                [1, 0, 0, 0, 0x44, 0, 0, 2].as_slice(),
                &[0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
                &(grid.len() as u32).to_be_bytes(),
                &[0, 2, 0, 0, 0, 0],
                &self.pieces.to_be_bytes(),
                &pieces,
            ]
            .concat();
            let properties = [
                ispe(u32::from(self.size.0), u32::from(self.size.1)),
                ispe(self.tile.0, self.tile.1),
                find(b"hvcC").to_vec(),
                self.more_properties.clone(),
            ]
            .concat();
            boxed(
                b"meta",
                &[
                    &[0; 4],
                    &boxed(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]),
                    &boxed(b"pitm", &[&[0, 0, 0, 0, 0, 1]]),
                    &boxed(
                        b"iinf",
                        &[
                            &[0, 0, 0, 0, 0, 2],
                            &item(1, b"grid"),
                            &item(2, b"hvc1"),
                            &self.more_items,
                        ],
                    ),
                    &boxed(b"iloc", &[&places]),
                    &boxed(
                        b"iref",
                        &[
                            &[0; 4],
                            &boxed(
                                b"dimg",
                                &[&[0, 1], &(self.tiles.len() as u16).to_be_bytes(), &tiles],
                            ),
                        ],
                    ),
                    &boxed(
                        b"iprp",
                        &[
                            &boxed(b"ipco", &[&properties]),
                            &boxed(
                                b"ipma",
                                &[&[0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 1, 0, 2, 2, 2, 0x83]],
                            ),
                        ],
                    ),
                    &boxed(b"idat", &[&grid]),
                ],
            )
        };
        let before = ftyp.len() + meta(0).len() + 8;
        [ftyp, meta(before as u32), boxed(b"mdat", &[&pixels])].concat()
    }
}

fn many<T: Copy>(n: usize, one: &[T]) -> Vec<T> {
    one.repeat(n)
}

#[test]
fn containers_that_lie_are_refused_before_a_pixel_is_decoded() {
    let photo = read(&Container::default().file()).unwrap();
    assert_eq!((photo.image.width(), photo.image.height()), (180, 66));
    let infe = boxed(b"infe", &[&[2, 0, 0, 0, 0, 9, 0, 0], b"hvc1", &[0]]);
    let all = |columns: u8, rows: u8, size, tile| Container {
        columns,
        rows,
        size,
        tile,
        tiles: vec![2; usize::from(columns) * usize::from(rows)],
        ..Container::default()
    };
    let cases = [
        (
            "a picture of 4 gigapixels",
            all(2, 1, (65_535, 65_535), (32_768, 65_535)),
            ErrorCode::ImageTooLarge,
        ),
        (
            "60,000 tiles",
            all(255, 235, (60_000, 60_000), (256, 256)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "1,000 tiles of 8,192 pixels a side",
            all(40, 25, (7000, 7000), (8192, 8192)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "one item as 900 tiles",
            all(30, 30, (2700, 1980), (90, 66)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "tiles that state more than is coded",
            all(1, 1, (180, 132), (180, 132)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "a small part of a huge tile",
            all(1, 1, (90, 66), (60_000, 60_000)),
            ErrorCode::ImageTooLarge,
        ),
        (
            "tiles that state less than is coded",
            all(2, 1, (64, 32), (32, 32)),
            ErrorCode::ImageUnreadable,
        ),
        (
            "a grid of itself",
            Container {
                tiles: vec![1, 1],
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "tiles that are not there",
            Container {
                tiles: vec![7, 8],
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "60,000 items",
            Container {
                more_items: many(60_000, &infe),
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "50,000 properties",
            Container {
                more_properties: many(50_000, &boxed(b"irot", &[&[0]])),
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "20 MB of properties",
            Container {
                more_properties: boxed(b"colr", &[b"prof", &vec![0; 20 << 20]]),
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "the same pixels 2,000 times over",
            Container {
                copies: 2000,
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
        (
            "pixels in 1,000 pieces",
            Container {
                pieces: 1000,
                ..Container::default()
            },
            ErrorCode::ImageUnreadable,
        ),
    ];
    for (what, container, code) in cases {
        let bytes = container.file();
        let begun = Instant::now();
        let e = read(&bytes).err().unwrap_or_else(|| panic!("{what} is taken"));
        assert_eq!(e.code, code, "{what}: {e}");
        // A second is a hundred times what the slowest needs, and nothing to what they ask for.
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{what}: {:?}",
            begun.elapsed()
        );
    }
}
