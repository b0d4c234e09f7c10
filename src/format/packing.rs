//! How codes lie in memory: from one a byte, as kernels give them, to what files hold, and back.

use super::GroupScale;
use super::q4gsw::{self, NibbleOrder};

/// How codes of a matrix are packed. Rows are taken one by one; what is left of a last byte or word
/// of a row is zeros, if nothing else is said.
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
    /// Unsigned codes, which are 2^(bits − 1) more, in bytes along a row, the first in the lowest
    /// bits. 4 or 8 bits. A row has room for a whole number of so many codes.
    Blocks {
        /// Bits of a code.
        bits: u8,
        /// Codes of a block; an even number of 4 bits, unless it is 1.
        len: u16,
    },
    /// Two unsigned codes a byte along a row that has room for a whole number of 8, and is filled up
    /// with codes of 0: [`q4gsw`].
    Q4gsw(NibbleOrder),
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
            Self::Blocks { bits, len } => {
                rows * (columns.next_multiple_of(len as usize) * bits as usize).div_ceil(8)
            }
            Self::Q4gsw(_) => rows * q4gsw::row_bytes(columns),
        }
    }

    /// Packs whole rows of codes.
    pub fn pack(self, codes: Vec<u8>, columns: usize) -> Vec<u8> {
        if columns == 0 || codes.is_empty() {
            return Vec::new();
        }
        if self == Self::Bytes {
            return codes;
        }
        let rows = codes.len() / columns;
        let mut packed = vec![0; self.bytes(rows, columns)];
        let row_bytes = self.bytes(1, columns);
        match self {
            Self::Nibbles | Self::Words { bits: 4 } | Self::Blocks { bits: 4, .. } => {
                let rows = codes.chunks_exact(columns).zip(packed.chunks_exact_mut(row_bytes));
                rows.for_each(|(row, packed)| pack_row(row, packed, self.flipped()));
            }
            Self::RowPairs => {
                for (pair, packed) in codes.chunks(2 * columns).zip(packed.chunks_mut(columns)) {
                    let (even, odd) = pair.split_at(columns.min(pair.len()));
                    for (byte, low) in packed.iter_mut().zip(even) {
                        *byte = low & 0xF;
                    }
                    for (byte, high) in packed.iter_mut().zip(odd) {
                        *byte |= high << 4;
                    }
                }
            }
            Self::Q4gsw(order) => q4gsw::pack(&codes, columns, order, &mut packed),
            Self::Bytes | Self::Words { .. } | Self::Blocks { .. } => {
                let rows = codes.chunks_exact(columns).zip(packed.chunks_exact_mut(row_bytes));
                for (row, packed) in rows {
                    for (byte, code) in packed.iter_mut().zip(row) {
                        *byte = code ^ self.flipped();
                    }
                }
            }
        }
        packed
    }

    /// What adding 2^(bits − 1) flips in a code of so many bits.
    const fn flipped(self) -> u8 {
        match self {
            Self::Words { bits } | Self::Blocks { bits, .. } => 1 << (bits - 1),
            _ => 0,
        }
    }

    /// Unpacks rows that were packed, for codes of `bits`, which are whole numbers if `signed`.
    pub fn unpack(self, packed: &[u8], columns: usize, signed: bool) -> Vec<u8> {
        if columns == 0 || packed.is_empty() {
            return Vec::new();
        }
        let row_bytes = self.bytes(1, columns);
        let mut codes = vec![0; packed.len() / row_bytes * self.rows() * columns];
        match self {
            Self::Nibbles | Self::Words { bits: 4 } | Self::Blocks { bits: 4, .. } => {
                let signed = signed || self != Self::Nibbles;
                let rows = packed.chunks_exact(row_bytes).zip(codes.chunks_exact_mut(columns));
                rows.for_each(|(packed, row)| unpack_row(packed, row, self.flipped(), signed));
            }
            Self::RowPairs => {
                let pairs = packed.chunks_exact(columns).zip(codes.chunks_exact_mut(2 * columns));
                for (packed, pair) in pairs {
                    let (even, odd) = pair.split_at_mut(columns);
                    for (code, byte) in even.iter_mut().zip(packed) {
                        *code = code_of(*byte, signed);
                    }
                    for (code, byte) in odd.iter_mut().zip(packed) {
                        *code = code_of(byte >> 4, signed);
                    }
                }
            }
            Self::Q4gsw(order) => q4gsw::unpack(packed, columns, order, &mut codes),
            Self::Bytes | Self::Words { .. } | Self::Blocks { .. } => {
                let rows = packed.chunks_exact(row_bytes).zip(codes.chunks_exact_mut(columns));
                for (packed, row) in rows {
                    for (code, byte) in row.iter_mut().zip(packed) {
                        *code = byte ^ self.flipped();
                    }
                }
            }
        }
        codes
    }
}

/// Packs a row into nibbles of which the bits in `flipped` are flipped.
#[inline(always)]
pub fn pack_row(row: &[u8], packed: &mut [u8], flipped: u8) {
    let (pairs, rest) = row.as_chunks::<2>();
    let both = u16::from_le_bytes([flipped; 2]);
    for (byte, pair) in packed.iter_mut().zip(pairs) {
        // As one number, which needs no shuffling.
        let pair = u16::from_le_bytes(*pair) ^ both;
        *byte = (pair & 0xF | pair >> 4 & 0xF0) as u8;
    }
    for (byte, low) in packed[pairs.len()..].iter_mut().zip(rest) {
        *byte = (low ^ flipped) & 0xF;
    }
}

/// Undoes [`pack_row`].
fn unpack_row(packed: &[u8], row: &mut [u8], flipped: u8, signed: bool) {
    let (pairs, rest) = row.as_chunks_mut::<2>();
    let last = &packed[pairs.len()..];
    for ([low, high], byte) in pairs.iter_mut().zip(packed) {
        *low = code_of(byte ^ flipped, signed);
        *high = code_of(byte >> 4 ^ flipped, signed);
    }
    for (low, byte) in rest.iter_mut().zip(last) {
        *low = code_of(byte ^ flipped, signed);
    }
}

/// The code in the low nibble of a byte.
#[inline(always)]
fn code_of(byte: u8, signed: bool) -> u8 {
    let nibble = byte & 0xF;
    // Flipping the sign bit makes a number 8 more, or 16 less and 8 more.
    if signed { (nibble ^ 8).wrapping_sub(8) } else { nibble }
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

/// Zero points, `across` a row, packed along rows like codes under [`Packing::Blocks`]. What is left
/// of the last byte of a row stands for a zero point of 0, as ONNX Runtime writes it.
pub fn pack_zero_points_in_rows(scales: &[GroupScale], across: usize, bits: u8) -> Vec<u8> {
    let (packing, padded) = zero_point_rows(across, bits);
    let row = |row: &[GroupScale]| {
        let codes = row.iter().map(|group| group.zero_point as u8);
        codes.chain(std::iter::repeat_n(0, padded - row.len())).collect::<Vec<u8>>()
    };
    packing.pack(scales.chunks_exact(across.max(1)).flat_map(row).collect(), padded)
}

/// The zero points of rows that [`pack_zero_points_in_rows`] packed, in row-major order.
pub fn unpack_zero_points_in_rows(packed: &[u8], across: usize, bits: u8) -> Vec<i8> {
    let (packing, padded) = zero_point_rows(across, bits);
    let codes = packing.unpack(packed, padded, true);
    let rows = codes.chunks_exact(padded.max(1));
    rows.flat_map(|row| row[..across].iter().map(|code| *code as i8)).collect()
}

/// How rows of `across` zero points are packed, and how many fill the bytes of one.
fn zero_point_rows(across: usize, bits: u8) -> (Packing, usize) {
    (Packing::Blocks { bits, len: 1 }, across.next_multiple_of(8 / usize::from(bits)))
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
                Packing::Blocks { bits: 4, len: 1 },
                Packing::Blocks { bits: 4, len: 16 },
                Packing::Blocks { bits: 8, len: 32 },
                Packing::Q4gsw(NibbleOrder::EvenLow),
                Packing::Q4gsw(NibbleOrder::EvenHigh),
            ] {
                let packed = packing.pack(codes.clone(), columns);
                assert_eq!(packed.len(), packing.bytes(4, columns), "{packing:?}");
                assert_eq!(packing.unpack(&packed, columns, true), codes, "{packing:?}");
                if matches!(packing, Packing::Nibbles | Packing::RowPairs) {
                    let unsigned: Vec<u8> = codes.iter().map(|code| code & 0xF).collect();
                    assert_eq!(packing.unpack(&packed, columns, false), unsigned, "{packing:?}");
                }
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

    #[test]
    fn rows_have_room_for_whole_blocks() {
        let codes = |codes: [i8; 6]| codes.map(|code| code as u8).to_vec();
        let two_rows = || codes([-8, 7, 0, 1, -1, -7]);
        let packed = Packing::Blocks { bits: 4, len: 4 }.pack(two_rows(), 3);
        assert_eq!(packed, [0xF0, 0x08, 0x79, 0x01]);
        let tight = Packing::Blocks { bits: 4, len: 1 };
        assert_eq!(tight.pack(two_rows(), 3), [0xF0, 0x08, 0x79, 0x01]);
        assert_eq!(tight.pack(two_rows(), 6), [0xF0, 0x98, 0x17]);
        let packed = Packing::Blocks { bits: 8, len: 4 }.pack(codes([-128, 127, 0, 1, -1, 2]), 3);
        assert_eq!(packed, [0, 255, 128, 0, 129, 127, 130, 0]);
        assert_eq!(Packing::Blocks { bits: 4, len: 32 }.bytes(3, 33), 3 * 32);
    }

    #[test]
    fn zero_points_go_along_rows_and_come_back() {
        let scales = [-8, 7, 0, -1, -3, 1].map(|zero_point| GroupScale { scale: 1.0, zero_point });
        let zero_points = scales.map(|group| group.zero_point);
        let packed = pack_zero_points_in_rows(&scales, 3, 4);
        assert_eq!(packed, [0xF0, 0x88, 0x57, 0x89], "an unused high nibble is 8");
        assert_eq!(unpack_zero_points_in_rows(&packed, 3, 4), zero_points);
        assert_eq!(pack_zero_points_in_rows(&scales, 2, 4), [0xF0, 0x78, 0x95]);
        let packed = pack_zero_points_in_rows(&scales, 3, 8);
        assert_eq!(packed, [120, 135, 128, 127, 125, 129]);
        assert_eq!(unpack_zero_points_in_rows(&packed, 3, 8), zero_points);
        assert_eq!(pack_zero_points_in_rows(&[], 3, 4), [0u8; 0]);
    }
}
