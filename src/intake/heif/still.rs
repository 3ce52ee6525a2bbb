//! The picture itself: one still, or a grid of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use heifer::color::{ColorParams, frame_to_rgba_sized};
use heifer::heifer_isobmff::boxes::{ColorInfo, ConstructionMethod, Property};
use heifer::heifer_isobmff::{HeifFile, ItemId};

use super::codec::Codec;
use super::turn;
use crate::contract::ScanError;
use crate::intake::container::{Crop, foreign, unreadable};
use crate::intake::decode::Picture;

/// A photo of 200 megapixels has 768.
const MAX_TILES: usize = 1024;
/// Pieces of one item's data.
const MAX_EXTENTS: usize = 16;
/// Pixels that all slices (HEVC) or frames (AV1) together may be decoded into, where there are more of them than tiles. A slice
/// may begin anywhere and go on to the end, so that each counts as a whole tile; cameras write one a tile.
const MAX_SLICED_PIXELS: u64 = 128 << 20;
/// Tiles decoded at the same time.
const MAX_THREADS: usize = 4;

/// What a decoder holds of a still at most: three planes of 16 bits and a cropped copy, and notes on each 4 x 4 pixels.
const DECODER_BYTES: u64 = 14;
/// The finished picture and a turned copy.
const PICTURE_BYTES: u64 = 6;

/// Where the pixels of a photo stand in its file.
#[derive(Debug)]
pub(in crate::intake) struct Still<'a> {
    file: HeifFile<'a>,
    codec: Codec,
    width: u32,
    height: u32,
    tile: (u32, u32),
    columns: u32,
    /// Row by row.
    tiles: Vec<ItemId>,
}

impl<'a> Still<'a> {
    /// # Errors
    /// `image_format` if the primary item is no still of a codec that is read and no grid of them; `image_unreadable` for grids
    /// that do not fit their tiles and for more tiles, pieces or slices than a photo has.
    pub(super) fn of(file: HeifFile<'a>, file_bytes: usize) -> Result<Self, ScanError> {
        let id = file.primary_id;
        let kind = kind(&file, id)?;
        let (width, height, columns, rows, tiles) = match &kind {
            b"grid" => {
                let grid = file.grid(id).map_err(|e| unreadable(&e).source(e))?;
                let tiles = file.referenced_items(id, b"dimg").to_vec();
                (
                    grid.output_width,
                    grid.output_height,
                    u32::from(grid.columns),
                    u32::from(grid.rows),
                    tiles,
                )
            }
            _ => {
                Codec::of(kind)?;
                let (width, height) = size(&file, id)?;
                (width, height, 1, 1, vec![id])
            }
        };
        if tiles.len() > MAX_TILES || tiles.len() != columns as usize * rows as usize {
            return Err(unreadable(format_args!(
                "{columns} x {rows} tiles are {}",
                tiles.len()
            )));
        }
        let of_tile = self::kind(&file, tiles[0])?;
        if of_tile == *b"grid" {
            return Err(unreadable("its tiles are grids"));
        }
        let (codec, tile) = (Codec::of(of_tile)?, size(&file, tiles[0])?);
        let still = Self {
            file,
            codec,
            width,
            height,
            tile,
            columns,
            tiles,
        };
        still.check_grid(rows)?;
        still.check_data(file_bytes)?;
        Ok(still)
    }

    /// Of the stored picture, before it is cropped.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The part of it that is shown, if not all.
    ///
    /// # Errors
    /// `image_unreadable` for a part that it does not have.
    pub(super) fn crop(&self) -> Result<Option<Crop>, ScanError> {
        turn::crop(&self.file, self.file.primary_id, self.size())
    }

    pub(super) fn bytes_a_pixel(&self) -> u64 {
        let pixels = (u64::from(self.width) * u64::from(self.height)).max(1);
        // A tile may be larger than what is shown of it.
        let of_tiles = |n: usize, each: u64| {
            self.tile_pixels()
                .saturating_mul(n as u64 * each)
                .div_ceil(pixels)
        };
        match self.tiles.len() {
            1 => of_tiles(1, DECODER_BYTES).max(PICTURE_BYTES),
            // Those at work and those that wait to be put in their places.
            n => PICTURE_BYTES + of_tiles(n.min(2 * MAX_THREADS), DECODER_BYTES),
        }
    }

    fn tile_pixels(&self) -> u64 {
        u64::from(self.tile.0) * u64::from(self.tile.1)
    }

    /// All tiles are alike, cover the picture, and none lies outside of it.
    fn check_grid(&self, rows: u32) -> Result<(), ScanError> {
        let covers = |side: u32, tile: u32, count: u32| {
            let (side, tile, count) = (u64::from(side), u64::from(tile), u64::from(count));
            side > 0 && tile * count >= side && tile * (count - 1) < side
        };
        if !covers(self.width, self.tile.0, self.columns) || !covers(self.height, self.tile.1, rows) {
            return Err(unreadable("its tiles do not cover it"));
        }
        for &id in &self.tiles {
            if Codec::of(kind(&self.file, id)?)? != self.codec || size(&self.file, id)? != self.tile {
                return Err(unreadable("its tiles are not alike"));
            }
            if id != self.file.primary_id
                && (turn::of_item(&self.file, id)? != 1 || turn::crop(&self.file, id, self.tile)?.is_some())
            {
                return Err(foreign("its tiles are turned one by one"));
            }
        }
        Ok(())
    }

    /// No byte is read more than twice, and no pixel is coded over and over.
    fn check_data(&self, file_bytes: usize) -> Result<(), ScanError> {
        let (mut bytes, mut slices) = (0_u64, 0_u64);
        for &id in &self.tiles {
            let item = self.file.item(id).map_err(|e| unreadable(&e).source(e))?;
            let place = item
                .location
                .as_ref()
                .ok_or_else(|| unreadable("its pixels are nowhere"))?;
            if place.construction_method == ConstructionMethod::Item || place.extents.len() > MAX_EXTENTS {
                return Err(unreadable("its pixels lie in too many pieces"));
            }
            bytes += place
                .extents
                .iter()
                .map(|piece| {
                    if piece.length == 0 {
                        file_bytes as u64
                    } else {
                        piece.length.min(1 << 40)
                    }
                })
                .sum::<u64>();
            if bytes > 2 * file_bytes as u64 {
                return Err(unreadable("its tiles share their data"));
            }
            slices += self.codec.pictures(&self.file, id)?;
        }
        if slices > self.tiles.len() as u64 && slices.saturating_mul(self.tile_pixels()) > MAX_SLICED_PIXELS {
            return Err(unreadable("its pixels are cut into more slices than a camera's"));
        }
        Ok(())
    }

    /// # Errors
    /// `image_unreadable` for pixels that are cut off, damaged or of another size than stated; `image_format` for codings
    /// that no camera writes.
    pub(in crate::intake) fn decode(&self) -> Result<Picture, ScanError> {
        if let [id] = self.tiles[..] {
            let (rgb, grey) = self.tile(id)?;
            return Ok(self.picture(rgb, grey));
        }
        let (width, height) = (self.width as usize, self.height as usize);
        let (tile_width, tile_height) = (self.tile.0 as usize, self.tile.1 as usize);
        let mut rgb = vec![0; width * height * 3];
        let mut grey = true;
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (done, results) = sync_channel(threads);
            for _ in 0..threads.min(self.tiles.len()) {
                let (done, next) = (done.clone(), &next);
                scope.spawn(move || {
                    while let Some((i, id)) = take(next, &self.tiles)
                        // Nobody takes the rest where one tile has failed.
                        && done.send((i, self.tile(id))).is_ok()
                    {}
                });
            }
            drop(done);
            for (i, tile) in results {
                let (tile, tile_is_grey) = tile?;
                grey &= tile_is_grey;
                let (x, y) = (
                    i % self.columns as usize * tile_width,
                    i / self.columns as usize * tile_height,
                );
                let columns = tile_width.min(width - x) * 3;
                let rows = rgb.chunks_exact_mut(width * 3).skip(y);
                for (to, from) in rows.zip(tile.chunks_exact(tile_width * 3)) {
                    to[x * 3..][..columns].copy_from_slice(&from[..columns]);
                }
            }
            Ok::<_, ScanError>(())
        })?;
        Ok(self.picture(rgb, grey))
    }

    fn picture(&self, rgb: Vec<u8>, grey: bool) -> Picture {
        Picture {
            width: self.width as usize,
            height: self.height as usize,
            rgb,
            grey,
        }
    }

    /// Three channels of one tile, and whether it has no colour.
    fn tile(&self, id: ItemId) -> Result<(Vec<u8>, bool), ScanError> {
        let (width, height) = self.tile;
        let frame = self.codec.decode(&self.file, id, self.tile)?;
        if frame.widths[0] < width || frame.heights[0] < height {
            return Err(unreadable("its pixels are fewer than stated"));
        }
        let colours = self.coding(id).unwrap_or_else(|| ColorParams::from_frame(&frame));
        let grey = frame.widths[1] == 0;
        let image = frame_to_rgba_sized::<u8>(&frame, colours, width, height);
        drop(frame);
        Ok((image.into_rgb8(), grey))
    }

    /// How the container says that colours are coded, of the tile or of the whole.
    fn coding(&self, id: ItemId) -> Option<ColorParams> {
        [id, self.file.primary_id].into_iter().find_map(|id| {
            self.file.item_properties(id).ok()?.find_map(|p| match p {
                Property::Color(ColorInfo::Nclx {
                    matrix, full_range, ..
                }) => Some(ColorParams {
                    matrix: *matrix,
                    full_range: *full_range,
                }),
                _ => None,
            })
        })
    }
}

fn take(next: &AtomicUsize, tiles: &[ItemId]) -> Option<(usize, ItemId)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    tiles.get(i).map(|id| (i, *id))
}

fn kind(file: &HeifFile<'_>, id: ItemId) -> Result<[u8; 4], ScanError> {
    let item = file.item(id).map_err(|e| unreadable(&e).source(e))?;
    Ok(item.item_type.0)
}

fn size(file: &HeifFile<'_>, id: ItemId) -> Result<(u32, u32), ScanError> {
    let size = file.image_size(id).map_err(|e| unreadable(&e).source(e))?;
    size.ok_or_else(|| unreadable("it does not state its size"))
}
