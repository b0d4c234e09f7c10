//! How codes lie in memory: from one a byte, as kernels give them, to what files hold, and back.

use super::GroupScale;

/// How codes of a matrix are packed. Rows are taken one by one; what is left of a last byte or word
/// of a row is zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// A code a byte.
    Bytes,
    /// Two codes a byte along a row, the even column in the low nibble.
    Nibbles,
    /// Two codes a byte down a column: rows 2i in the low nibble and 2i + 1 in the high one.
    RowPairs,
    /// Unsigned codes, which are 2^(bits − 1) more, in little-endian words of 32 bits along a row,
    /// the first in the lowest bits. 4 or 8 bits.
    Words {
        /// Bits of a code.
        bits: u8,
    },
}

impl Packing {
    /// Rows that are packed together.
    pub const fn rows(self) -> usize {
        match self {
            Self::RowPairs => 2,
            _ => 1,
        }
    }

    /// Bytes that `rows` rows take.
    pub const fn bytes(self, rows: usize, columns: usize) -> usize {
        match self {
            Self::Bytes => rows * columns,
            Self::Nibbles => rows * columns.div_ceil(2),
            Self::RowPairs => rows.div_ceil(2) * columns,
            Self::Words { bits } => rows * (columns * bits as usize).div_ceil(32) * 4,
        }
    }

    /// Packs whole rows of codes.
    pub fn pack(self, codes: Vec<u8>, columns: usize) -> Vec<u8> {
        if columns == 0 || codes.is_empty() {
            return Vec::new();
        }
        match self {
            Self::Bytes => codes,
            Self::Nibbles => codes
                .chunks_exact(columns)
                .flat_map(|row| {
                    row.chunks(2)
                        .map(|pair| pair[0] & 0xF | pair.get(1).map_or(0, |high| high << 4))
                })
                .collect(),
            Self::RowPairs => {
                let pairs = codes.chunks_exact(2 * columns);
                let packed = pairs.flat_map(|pair| {
                    let (even, odd) = pair.split_at(columns);
                    even.iter().zip(odd).map(|(low, high)| low & 0xF | high << 4)
                });
                packed.collect()
            }
            Self::Words { bits } => {
                let row_bytes = self.bytes(1, columns);
                let per_byte = 8 / usize::from(bits);
                let bias = 1u8 << (bits - 1);
                let mask = u8::MAX >> (8 - bits);
                let mut packed = vec![0; codes.len() / columns * row_bytes];
                let rows = codes.chunks_exact(columns).zip(packed.chunks_exact_mut(row_bytes));
                for (row, packed) in rows {
                    for (codes, byte) in row.chunks(per_byte).zip(packed) {
                        for (i, code) in codes.iter().enumerate() {
                            *byte |= (code.wrapping_add(bias) & mask) << (i * usize::from(bits));
                        }
                    }
                }
                packed
            }
        }
    }

    /// Unpacks rows that were packed, for codes of `bits`, which are whole numbers if `signed`.
    pub fn unpack(self, packed: &[u8], columns: usize, signed: bool) -> Vec<u8> {
        let extend = |nibble: u8| match signed {
            true => ((nibble << 4) as i8 >> 4) as u8,
            false => nibble & 0xF,
        };
        if columns == 0 || packed.is_empty() {
            return Vec::new();
        }
        match self {
            Self::Bytes => packed.to_vec(),
            Self::Nibbles => {
                let rows = packed.chunks_exact(columns.div_ceil(2));
                let row = |row: &[u8]| -> Vec<u8> {
                    let nibbles = row.iter().flat_map(|byte| [extend(*byte), extend(byte >> 4)]);
                    nibbles.take(columns).collect()
                };
                rows.flat_map(row).collect()
            }
            Self::RowPairs => {
                let row = |row: &[u8]| -> Vec<u8> {
                    let (even, odd) = (row.iter(), row.iter());
                    even.map(|byte| extend(*byte))
                        .chain(odd.map(|byte| extend(byte >> 4)))
                        .collect()
                };
                packed.chunks_exact(columns).flat_map(row).collect()
            }
            Self::Words { bits } => {
                let per_byte = 8 / usize::from(bits);
                let bias = 1u8 << (bits - 1);
                let mask = u8::MAX >> (8 - bits);
                let rows = packed.chunks_exact(self.bytes(1, columns));
                let row = |row: &[u8]| -> Vec<u8> {
                    let code = |i: usize| {
                        let unsigned =
                            row[i / per_byte] >> (i % per_byte * usize::from(bits)) & mask;
                        unsigned.wrapping_sub(bias)
                    };
                    (0..columns).map(code).collect()
                };
                rows.flat_map(row).collect()
            }
        }
    }
}

/// Zero points, `across` a row, packed down the columns: each word of 32 bits holds those of as many
/// rows as fit, biased and in order like [`Packing::Words`]. Words are in row-major order.
pub fn pack_zero_points(scales: &[GroupScale], across: usize, bits: u8) -> Vec<u8> {
    let rows_a_word = 32 / usize::from(bits);
    let (bias, mask) = (1i32 << (bits - 1), (1u32 << bits) - 1);
    let word = |rows: &[GroupScale], column: usize| {
        let biased = rows.iter().skip(column).step_by(across);
        biased.enumerate().fold(0u32, |word, (i, group)| {
            let unsigned = (i32::from(group.zero_point) + bias) as u32 & mask;
            word | unsigned << (i * usize::from(bits))
        })
    };
    let words = scales.chunks(rows_a_word * across.max(1));
    let words = words.flat_map(|rows| (0..across).map(move |column| word(rows, column)));
    words.flat_map(u32::to_le_bytes).collect()
}

/// The zero points of `rows` rows that [`pack_zero_points`] packed, in row-major order.
pub fn unpack_zero_points(packed: &[u8], rows: usize, across: usize, bits: u8) -> Vec<i8> {
    let rows_a_word = 32 / usize::from(bits);
    let (bias, mask) = (1i32 << (bits - 1), (1u32 << bits) - 1);
    let words = packed.as_chunks::<4>().0;
    let zero_point = |i: usize| {
        let (row, column) = (i / across, i % across);
        let word = words.get(row / rows_a_word * across + column);
        let word = word.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let unsigned = word >> (row % rows_a_word * usize::from(bits)) & mask;
        (unsigned as i32 - bias) as i8
    };
    (0..rows * across).map(zero_point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        for columns in [1usize, 5, 8, 33] {
            let codes: Vec<u8> = (0..4 * columns).map(|i| ((i * 7 % 16) as i8 - 8) as u8).collect();
            for packing in [
                Packing::Bytes,
                Packing::Nibbles,
                Packing::RowPairs,
                Packing::Words { bits: 4 },
                Packing::Words { bits: 8 },
            ] {
                let packed = packing.pack(codes.clone(), columns);
                assert_eq!(packed.len(), packing.bytes(4, columns), "{packing:?}");
                assert_eq!(packing.unpack(&packed, columns, true), codes, "{packing:?}");
            }
        }
    }

    #[test]
    fn zero_points_go_down_the_columns_and_come_back() {
        let scale = |zero_point| GroupScale { scale: 1.0, zero_point };
        let scales: Vec<GroupScale> = (0..20).map(|i| scale(i % 16 - 8)).collect();
        let packed = pack_zero_points(&scales, 2, 4);
        assert_eq!(packed.len(), 4 * 2 * 2, "ten rows take two words");
        assert_eq!(packed[..2], [0x20, 0x64], "every second one is of the first column");
        let zero_points: Vec<i8> = scales.iter().map(|group| group.zero_point).collect();
        assert_eq!(unpack_zero_points(&packed, 10, 2, 4), zero_points);
    }

    #[test]
    fn the_places_of_codes() {
        let codes = |codes: [i8; 4]| codes.map(|code| code as u8).to_vec();
        assert_eq!(Packing::Nibbles.pack(codes([1, -1, 7, 3]), 4), [0xF1, 0x37]);
        assert_eq!(Packing::RowPairs.pack(codes([1, -1, 7, -8]), 2), [0x71, 0x8F]);
        assert_eq!(Packing::Words { bits: 4 }.pack(codes([-8, 7, 0, 1]), 4), [0xF0, 0x98, 0, 0]);
        assert_eq!(
            Packing::Words { bits: 8 }.pack(codes([-128, 127, 0, 1]), 4),
            [0, 255, 128, 129]
        );
    }
}
