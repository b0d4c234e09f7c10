//! Health of block scales.

use serde::Serialize;

use crate::numeric::e4m3;

/// What the E4M3 block scales of a tensor look like. Parts of a tensor merge into the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ScaleHealth {
    /// Number of block scales.
    pub blocks: u64,
    /// Smallest valid scale.
    pub min: f32,
    /// Largest valid scale.
    pub max: f32,
    /// Scales that are 0: their blocks read as zero.
    pub zero: u64,
    /// Scales below 2⁻⁶, which have fewer than 3 mantissa bits.
    pub subnormal: u64,
    /// Scales at 448, the largest there is. The block with the tensor's amax has it by design.
    pub saturated: u64,
    /// Scales that are NaN or negative: no reader expects them.
    pub invalid: u64,
}

impl ScaleHealth {
    /// Looks at a chunk of scale codes.
    pub fn of(codes: &[u8]) -> Self {
        let mut counts = [0u64; 256];
        for &code in codes {
            counts[usize::from(code)] += 1;
        }
        let (valid, invalid) = counts.split_at(usize::from(e4m3::MAX_CODE) + 1);
        let value = |code: Option<usize>| code.map_or(0.0, |code| e4m3::decode(code as u8));
        Self {
            blocks: codes.len() as u64,
            min: value(valid.iter().position(|&count| count > 0)),
            max: value(valid.iter().rposition(|&count| count > 0)),
            zero: valid[0],
            subnormal: valid[1..usize::from(e4m3::FIRST_NORMAL_CODE)].iter().sum(),
            saturated: valid[usize::from(e4m3::MAX_CODE)],
            invalid: invalid.iter().sum(),
        }
    }

    /// Adds another part.
    pub fn merge(&mut self, other: &Self) {
        // A part without a valid scale has no say in the range.
        if other.blocks > other.invalid {
            let first = self.blocks == self.invalid;
            self.min = if first { other.min } else { self.min.min(other.min) };
            self.max = self.max.max(other.max);
        }
        self.blocks += other.blocks;
        self.zero += other.zero;
        self.subnormal += other.subnormal;
        self.saturated += other.saturated;
        self.invalid += other.invalid;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scale_counts_in_its_class() {
        let health = ScaleHealth::of(&[0x00, 0x01, 0x07, 0x08, 0x38, 0x7E, 0x7E, 0x7F, 0x80]);
        assert_eq!((health.blocks, health.zero, health.subnormal), (9, 1, 2));
        assert_eq!((health.saturated, health.invalid), (2, 2));
        assert_eq!((health.min, health.max), (0.0, 448.0));
    }

    #[test]
    fn parts_merge_into_the_whole() {
        let codes = [0x7F, 0x38, 0x40, 0x05, 0x7E, 0xFF];
        for split in 0..=codes.len() {
            let (left, right) = codes.split_at(split);
            let mut total = ScaleHealth::default();
            total.merge(&ScaleHealth::of(left));
            total.merge(&ScaleHealth::of(right));
            assert_eq!(total, ScaleHealth::of(&codes), "split at {split}");
        }
    }
}
