//! Huffman-coded data (ITU T.81, annexes F and G).

use std::ops::RangeInclusive;

use super::ZIGZAG;

const FAST: u32 = 9;

/// A canonical code with a table for the short words.
pub(super) struct Huffman {
    /// Length and symbol by the next [`FAST`] bits; length 0 for longer words.
    fast: Vec<(u8, u8)>,
    /// Largest code of each length 1..=16, or -1.
    largest: [i32; 17],
    /// Symbol index minus code for each length.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            fast: vec![(0, 0); 1 << FAST],
            largest: [-1; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0i32, 0i32);
        for length in 1..=16u32 {
            let count = i32::from(counts[length as usize - 1]);
            table.offset[length as usize] = index - code;
            if code + count > 1 << length {
                return None;
            }
            if length <= FAST {
                for i in 0..count {
                    let spare = FAST - length;
                    let from = ((code + i) as usize) << spare;
                    let symbol = symbols[(index + i) as usize];
                    table.fast[from..from + (1 << spare)].fill((length as u8, symbol));
                }
            }
            if count > 0 {
                table.largest[length as usize] = code + count - 1;
            }
            (code, index) = ((code + count) << 1, index + count);
        }
        Some(table)
    }
}

/// Bits of a scan, most significant first, with stuffing removed. Stops at markers.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
    /// Zero bits that stand for data beyond the end; taking one is an error.
    padding: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            buffer: 0,
            count: 0,
            padding: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF), _) | (None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn peek(&mut self, n: u32) -> u32 {
        if self.count < n {
            self.fill();
        }
        (self.buffer >> (self.count - n)) as u32 & ((1 << n) - 1)
    }

    fn skip(&mut self, n: u32) -> Option<()> {
        self.count -= n;
        (self.count >= self.padding).then_some(())
    }

    fn take(&mut self, n: u32) -> Option<u32> {
        if n == 0 {
            return Some(0);
        }
        let value = self.peek(n);
        self.skip(n)?;
        Some(value)
    }

    /// Past the next restart marker.
    pub(super) fn restart(&mut self) -> Option<()> {
        // Whole bytes that were read ahead would be data that no unit used.
        if self.count - self.padding >= 8 {
            return None;
        }
        (self.buffer, self.count, self.padding) = (0, 0, 0);
        while self.data.get(self.at) == Some(&0xFF) && self.data.get(self.at + 1) == Some(&0xFF) {
            self.at += 1;
        }
        match (self.data.get(self.at), self.data.get(self.at + 1)) {
            (Some(0xFF), Some(0xD0..=0xD7)) => {
                self.at += 2;
                Some(())
            }
            _ => None,
        }
    }

    /// Bytes up to the marker that ends the scan.
    pub(super) fn consumed(&self) -> usize {
        self.at - (self.count - self.padding) as usize / 8
    }

    fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        let (length, symbol) = table.fast[self.peek(FAST) as usize];
        if length > 0 {
            self.skip(u32::from(length))?;
            return Some(symbol);
        }
        let word = self.peek(16) as i32;
        for length in FAST + 1..=16 {
            let code = word >> (16 - length);
            if code <= table.largest[length as usize] {
                self.skip(length)?;
                let index = code + table.offset[length as usize];
                return table.symbols.get(usize::try_from(index).ok()?).copied();
            }
        }
        None
    }

    /// A signed value of `size` bits (T.81, figure F.12).
    fn value(&mut self, size: u32) -> Option<i32> {
        if size > 15 {
            return None;
        }
        let raw = self.take(size)? as i32;
        let negative = size > 0 && raw < 1 << (size - 1);
        Some(if negative { raw - (1 << size) + 1 } else { raw })
    }

    pub(super) fn sequential(
        &mut self,
        dc: &Huffman,
        ac: &Huffman,
        prediction: &mut i32,
        block: &mut [i16; 64],
    ) -> Option<()> {
        let size = self.symbol(dc)?;
        *prediction = prediction.checked_add(self.value(u32::from(size))?)?;
        block[0] = *prediction as i16;
        let mut k = 1;
        while k < 64 {
            let symbol = self.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => break,
                _ => {
                    k += run;
                    let value = self.value(size)?;
                    block[*ZIGZAG.get(k)?] = value as i16;
                    k += 1;
                }
            }
        }
        Some(())
    }

    pub(super) fn dc_first(
        &mut self,
        table: &Huffman,
        prediction: &mut i32,
        low: u8,
        block: &mut [i16; 64],
    ) -> Option<()> {
        let size = self.symbol(table)?;
        *prediction = prediction.checked_add(self.value(u32::from(size))?)?;
        block[0] = (*prediction << low) as i16;
        Some(())
    }

    pub(super) fn dc_refine(&mut self, low: u8, block: &mut [i16; 64]) -> Option<()> {
        if self.take(1)? == 1 {
            block[0] |= 1 << low;
        }
        Some(())
    }

    pub(super) fn ac_first(
        &mut self,
        table: &Huffman,
        band: RangeInclusive<usize>,
        low: u8,
        end_run: &mut u32,
        block: &mut [i16; 64],
    ) -> Option<()> {
        if *end_run > 0 {
            *end_run -= 1;
            return Some(());
        }
        let (mut k, last) = band.into_inner();
        while k <= last {
            let symbol = self.symbol(table)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    *end_run = (1 << run) - 1 + self.take(run as u32)?;
                    break;
                }
                _ => {
                    k += run;
                    let value = self.value(size)?;
                    block[*ZIGZAG.get(k)?] = (value << low) as i16;
                    k += 1;
                }
            }
        }
        Some(())
    }

    /// One more bit of a coefficient that is not zero.
    fn refine(&mut self, low: u8, value: &mut i16) -> Option<()> {
        let bit = 1i16 << low;
        if self.take(1)? == 1 && *value & bit == 0 {
            *value = value.wrapping_add(if *value >= 0 { bit } else { -bit });
        }
        Some(())
    }

    pub(super) fn ac_refine(
        &mut self,
        table: &Huffman,
        band: RangeInclusive<usize>,
        low: u8,
        end_run: &mut u32,
        block: &mut [i16; 64],
    ) -> Option<()> {
        let (mut k, last) = band.into_inner();
        if *end_run == 0 {
            while k <= last {
                let symbol = self.symbol(table)?;
                let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut new = 0;
                match (run, size) {
                    (15, 0) => {}
                    (_, 0) => {
                        *end_run = (1 << run) + self.take(run)?;
                        break;
                    }
                    _ => {
                        new = if self.take(1)? == 1 {
                            1i16 << low
                        } else {
                            -(1i16 << low)
                        }
                    }
                }
                // Skip `run` zeros; coefficients that are not zero get their next bit on the way.
                while k <= last {
                    let value = &mut block[ZIGZAG[k]];
                    if *value != 0 {
                        self.refine(low, value)?;
                    } else if run == 0 {
                        *value = new;
                        k += 1;
                        break;
                    } else {
                        run -= 1;
                    }
                    k += 1;
                }
            }
        }
        if *end_run > 0 {
            while k <= last {
                let value = &mut block[ZIGZAG[k]];
                if *value != 0 {
                    self.refine(low, value)?;
                }
                k += 1;
            }
            *end_run -= 1;
        }
        Some(())
    }
}
