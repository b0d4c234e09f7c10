//! Health of scales.

use multiversion::multiversion;
use serde::{Deserialize, Serialize};

use crate::numeric::e4m3;

/// What the scales of a tensor look like. Parts of a tensor merge into the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ScaleHealth {
    /// Number of scales.
    pub blocks: u64,
    /// Smallest valid scale.
    pub min: f32,
    /// Largest valid scale.
    pub max: f32,
    /// Scales that are 0: their blocks read as zero.
    pub zero: u64,
    /// Scales below the smallest normal number of their type, which have fewer mantissa bits.
    pub subnormal: u64,
    /// Scales at the largest number of their type. NVFP4's block with the tensor's amax is at 448 by
    /// design.
    pub saturated: u64,
    /// Scales that are NaN or negative: no reader expects them.
    pub invalid: u64,
}

impl ScaleHealth {
    /// Looks at a chunk of E4M3 scale codes.
    pub fn of(codes: &[u8]) -> Self {
        let classes = Classes {
            min_normal: e4m3::FIRST_NORMAL_CODE,
            largest: e4m3::MAX_CODE,
            first_invalid: e4m3::MAX_CODE + 1,
        };
        count(codes, classes, e4m3::decode)
    }

    /// Looks at scales of a type whose smallest normal number and whose largest number are known.
    pub fn of_values(scales: impl Iterator<Item = f32>, min_normal: f32, largest: f32) -> Self {
        const TOGETHER: usize = 128;
        let [min_normal, largest, first_invalid] =
            [min_normal, largest, f32::INFINITY].map(f32::to_bits);
        let classes = Classes { min_normal, largest, first_invalid };
        let mut health = Self::default();
        let mut patterns = scales.map(f32::to_bits);
        let mut chunk = [0; TOGETHER];
        loop {
            let places = chunk.iter_mut().zip(patterns.by_ref());
            let some = places.map(|(place, pattern)| *place = pattern).count();
            if some == 0 {
                return health;
            }
            health.merge(&count(&chunk[..some], classes, f32::from_bits));
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

/// Patterns where a class of scales begins. Those of valid ones order like their values, and all others are above.
#[derive(Clone, Copy)]
struct Classes<T> {
    min_normal: T,
    largest: T,
    first_invalid: T,
}

#[multiversion(targets = "simd")]
fn count<T: Copy + Default + Ord>(
    patterns: &[T],
    Classes { min_normal, largest, first_invalid }: Classes<T>,
    value: fn(T) -> f32,
) -> ScaleHealth {
    let (mut min, mut max) = (first_invalid, T::default());
    let [mut invalid, mut zero, mut subnormal, mut saturated] = [0u32; 4];
    for &pattern in patterns {
        let valid = pattern < first_invalid;
        invalid += u32::from(!valid);
        zero += u32::from(pattern == T::default());
        subnormal += u32::from((pattern > T::default()) & (pattern < min_normal));
        saturated += u32::from(valid & (pattern >= largest));
        min = min.min(pattern);
        max = max.max(if valid { pattern } else { T::default() });
    }
    ScaleHealth {
        blocks: patterns.len() as u64,
        min: value(if min < first_invalid { min } else { T::default() }),
        max: value(max),
        zero: zero.into(),
        subnormal: subnormal.into(),
        saturated: saturated.into(),
        invalid: invalid.into(),
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
    fn values_count_in_the_same_classes() {
        let codes = [0x00, 0x01, 0x07, 0x08, 0x38, 0x7E, 0x7E, 0x7F, 0x80];
        let values = codes.iter().map(|code| e4m3::decode(*code));
        let health = ScaleHealth::of_values(values, 1.0 / 64.0, e4m3::MAX);
        assert_eq!(health, ScaleHealth::of(&codes));
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
