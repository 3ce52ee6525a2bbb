//! Boxes of the ISO base media format (ISO/IEC 14496-12), as far as a photo has them.

use std::ops::Range;

/// A box of a file. Places are positions in the file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub name: [u8; 4],
    pub at: usize,
    pub content: Range<usize>,
}

impl Part {
    /// The content behind version and flags, and the version.
    pub(super) fn full(&self, bytes: &[u8]) -> Option<(u8, Range<usize>)> {
        let version = *bytes.get(self.content.start)?;
        let rest = self.content.start + 4..self.content.end;
        (rest.start <= rest.end).then_some((version, rest))
    }

    /// Overwritten, and to be ignored by every reader.
    pub(super) fn clear(&self, out: &mut [u8]) {
        out[self.at + 4..self.at + 8].copy_from_slice(b"free");
        out[self.content.clone()].fill(0);
    }
}

fn part(bytes: &[u8], at: usize, end: usize) -> Option<Part> {
    let mut head = Cursor::over(bytes, at..end);
    let size = head.uint(4)?;
    let name = head.take(4)?.try_into().ok()?;
    let size = match size {
        0 => end - at,
        1 => usize::try_from(head.uint(8)?).ok()?,
        size => usize::try_from(size).ok()?,
    };
    let content = head.at..at.checked_add(size)?;
    (content.start <= content.end && content.end <= end).then_some(Part { name, at, content })
}

/// The boxes from the beginning of a range on, and where the last whole one ends.
pub(super) fn parts(bytes: &[u8], range: Range<usize>) -> (Vec<Part>, usize) {
    let (mut found, mut at) = (Vec::new(), range.start);
    while at < range.end
        && let Some(part) = part(bytes, at, range.end)
    {
        at = part.content.end;
        found.push(part);
    }
    (found, at)
}

/// The boxes that fill a range.
pub(super) fn all_parts(bytes: &[u8], range: Range<usize>) -> Option<Vec<Part>> {
    let end = range.end;
    let (found, at) = parts(bytes, range);
    (at == end).then_some(found)
}

/// Reads big-endian fields.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn over(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self {
            bytes,
            at: range.start,
            end: range.end,
        }
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.end)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Of up to eight bytes; of none it is 0.
    pub(super) fn uint(&mut self, n: usize) -> Option<u64> {
        let bytes = self.take(n)?;
        Some(bytes.iter().fold(0, |value, b| (value << 8) | u64::from(*b)))
    }

    /// An id or a count, two bytes long in old versions and four in new ones.
    pub(super) fn short(&mut self, long: bool) -> Option<u32> {
        u32::try_from(self.uint(if long { 4 } else { 2 })?).ok()
    }

    pub(super) fn rest(&self) -> Range<usize> {
        self.at..self.end
    }
}
