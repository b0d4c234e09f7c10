//! `q4gsw`, as ExecuTorch 1.5 has symmetric groups of 4-bit codes in its programs for Vulkan and WebGPU.
//!
//! Codes are unsigned in files, 8 more than everywhere else in this crate, and two a byte along a
//! row. Rows are filled up with codes of 0 to a multiple of 8, so that their last bytes may be 0x88.
//! Which of two codes has the low nibble is the [`NibbleOrder`].
//!
//! An embedding has its scales as they are, `[rows, groups]`. A linear layer has them group by group,
//! `[groups, rows]`, with zeros where the number of rows is no multiple of 4: [`scale_place`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Codes that the length of a stored row is a multiple of.
const ROW_UNIT: usize = 8;

/// Which columns have the low nibbles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NibbleOrder {
    /// Even ones: `linear_q4gsw`, and `embedding_q4gsw` that is told of a linear weight.
    #[default]
    EvenLow,
    /// Odd ones: `embedding_4bit`, and any other `embedding_q4gsw`.
    EvenHigh,
}

impl NibbleOrder {
    /// The name on the command line and in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EvenLow => "even-low",
            Self::EvenHigh => "even-high",
        }
    }

    /// The byte of the codes of an even column and the next.
    #[inline(always)]
    const fn byte(self, even: u8, odd: u8) -> u8 {
        // Adding 8 flips the highest of four bits.
        let low_even = (even ^ 8) & 0xF | (odd ^ 8) << 4;
        match self {
            Self::EvenLow => low_even,
            Self::EvenHigh => low_even.rotate_left(4),
        }
    }

    /// Undoes [`Self::byte`].
    #[inline(always)]
    const fn codes(self, byte: u8) -> [u8; 2] {
        let byte = match self {
            Self::EvenLow => byte,
            Self::EvenHigh => byte.rotate_left(4),
        };
        // Less 8, as bytes that are extended by their sign.
        [(byte & 0xF).wrapping_sub(8), (byte >> 4).wrapping_sub(8)]
    }
}

impl fmt::Display for NibbleOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no order of nibbles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown order of nibbles \"{0}\"; known: even-low, even-high")]
pub struct UnknownNibbleOrder(String);

impl FromStr for NibbleOrder {
    type Err = UnknownNibbleOrder;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::EvenLow, Self::EvenHigh].into_iter().find(|order| order.name() == text);
        known.ok_or_else(|| UnknownNibbleOrder(text.to_owned()))
    }
}

/// Bytes of a row of so many codes.
pub const fn row_bytes(columns: usize) -> usize {
    columns.next_multiple_of(ROW_UNIT) / 2
}

/// Packs rows of codes, each of `columns` bytes, into `packed`, which has [`row_bytes`] for each.
pub(super) fn pack(codes: &[u8], columns: usize, order: NibbleOrder, packed: &mut [u8]) {
    let rows = codes.chunks_exact(columns).zip(packed.chunks_exact_mut(row_bytes(columns)));
    for (row, packed) in rows {
        packed.fill(order.byte(0, 0));
        let (pairs, rest) = row.as_chunks::<2>();
        for (byte, [even, odd]) in packed.iter_mut().zip(pairs) {
            *byte = order.byte(*even, *odd);
        }
        for (byte, even) in packed[pairs.len()..].iter_mut().zip(rest) {
            *byte = order.byte(*even, 0);
        }
    }
}

/// Undoes [`pack`].
pub(super) fn unpack(packed: &[u8], columns: usize, order: NibbleOrder, codes: &mut [u8]) {
    let rows = packed.chunks_exact(row_bytes(columns)).zip(codes.chunks_exact_mut(columns));
    for (packed, row) in rows {
        let (pairs, rest) = row.as_chunks_mut::<2>();
        let last = &packed[pairs.len()..];
        for (pair, byte) in pairs.iter_mut().zip(packed) {
            *pair = order.codes(*byte);
        }
        for (even, byte) in rest.iter_mut().zip(last) {
            [*even, _] = order.codes(*byte);
        }
    }
}

/// Rows that the scales of a linear layer have room for.
pub const fn filled_rows(rows: usize) -> usize {
    rows.next_multiple_of(4)
}

/// The place of the scale of a group of a row among those of a linear layer of so many rows.
pub const fn scale_place(group: usize, row: usize, rows: usize) -> usize {
    group * filled_rows(rows) + row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::packing::Packing;

    #[test]
    fn the_places_of_codes() {
        let codes = [-8i8, 7, 0, 1, -1].map(|code| code as u8);
        let pack = |order| Packing::Q4gsw(order).pack(codes.to_vec(), 5);
        assert_eq!(pack(NibbleOrder::EvenLow), [0xF0, 0x98, 0x87, 0x88]);
        assert_eq!(pack(NibbleOrder::EvenHigh), [0x0F, 0x89, 0x78, 0x88]);
        let two_rows = Packing::Q4gsw(NibbleOrder::EvenHigh).pack(vec![1, 2], 1);
        assert_eq!(two_rows, [0x98, 0x88, 0x88, 0x88, 0xA8, 0x88, 0x88, 0x88]);
    }

    #[test]
    fn scales_of_a_group_follow_one_another() {
        let places = |rows| [(0, 0), (0, 2), (1, 0), (1, 2)].map(|(g, r)| scale_place(g, r, rows));
        assert_eq!(places(3), [0, 2, 4, 6]);
        assert_eq!(places(4), [0, 2, 4, 6]);
        assert_eq!(places(5), [0, 2, 8, 10]);
    }
}
