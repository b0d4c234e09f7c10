//! Health of block scales.

use serde::Serialize;

use crate::numeric::e4m3;

/// How often each E4M3 scale code occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleCounts([u64; 256]);

impl Default for ScaleCounts {
    fn default() -> Self {
        Self([0; 256])
    }
}

/// What the scales of a tensor look like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScaleHealth {
    /// Number of block scales.
    pub blocks: u64,
    /// Smallest scale.
    pub min: f32,
    /// Largest scale.
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

impl ScaleCounts {
    /// Counts the codes of a chunk.
    pub fn add(&mut self, codes: &[u8]) {
        for &code in codes {
            self.0[usize::from(code)] += 1;
        }
    }

    /// Adds another part.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// The summary; `None` without scales. Minimum and maximum are over valid scales.
    pub fn health(&self) -> Option<ScaleHealth> {
        let sum = |codes: std::ops::RangeInclusive<u8>| self.0[usize::from(*codes.start())..=usize::from(*codes.end())].iter().sum();
        let blocks: u64 = self.0.iter().sum();
        let valid = 0..=e4m3::MAX_CODE;
        let invalid = blocks - sum(valid.clone());
        let mut present = valid.filter(|&code| self.0[usize::from(code)] > 0);
        let min = present.clone().next().unwrap_or(0);
        let max = present.next_back().unwrap_or(0);
        (blocks > 0).then(|| ScaleHealth {
            blocks,
            min: e4m3::decode(min),
            max: e4m3::decode(max),
            zero: self.0[0],
            subnormal: sum(1..=e4m3::FIRST_NORMAL_CODE - 1),
            saturated: self.0[usize::from(e4m3::MAX_CODE)],
            invalid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_counts_each_class_once() {
        let mut counts = ScaleCounts::default();
        assert_eq!(counts.health(), None);
        counts.add(&[0x00, 0x01, 0x07, 0x08, 0x38, 0x7E, 0x7E]);
        let mut more = ScaleCounts::default();
        more.add(&[0x7F, 0x80]);
        counts.merge(&more);
        let health = counts.health().unwrap();
        assert_eq!((health.blocks, health.zero, health.subnormal), (9, 1, 2));
        assert_eq!((health.saturated, health.invalid), (2, 2));
        assert_eq!((health.min, health.max), (0.0, 448.0));
    }
}
