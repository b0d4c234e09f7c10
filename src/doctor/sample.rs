//! The weights that devices are tested with: always the same.

use crate::backend::Weights;
use crate::numeric::FloatKind;

/// Length of a row: whole blocks of every format.
pub const COLUMNS: usize = 256;

/// Every float type of weights.
pub const KINDS: [FloatKind; 3] = [FloatKind::Bf16, FloatKind::F16, FloatKind::F32];

/// Largest magnitudes in units of what codes are, at which quotients are exact: those of E2M1, E4M3, and
/// whole numbers of 4 and 8 bits.
const AMAXES: [u32; 6] = [6, 448, 7, 8, 127, 128];

/// A matrix of weights.
#[derive(Debug)]
pub struct Sample {
    /// What they are.
    pub name: &'static str,
    /// Their type.
    pub kind: FloatKind,
    /// Their bytes, in memory that is aligned for every type.
    words: Vec<u32>,
    len: usize,
}

impl Sample {
    /// All matrices of a type.
    pub fn all(kind: FloatKind) -> [Self; 4] {
        [normal(kind), ties(kind), subnormals(kind), extremes(kind)]
    }

    /// A matrix of magnitude patterns, each with a sign.
    fn new(
        name: &'static str,
        kind: FloatKind,
        patterns: impl Iterator<Item = (u32, bool)>,
    ) -> Self {
        let sign = 1u32 << (8 * kind.bytes() - 1);
        let stored = patterns.map(|(magnitude, negative)| magnitude | (u32::from(negative) * sign));
        let bytes: Vec<u8> =
            stored.flat_map(|p| p.to_le_bytes().into_iter().take(kind.bytes())).collect();
        let mut words = vec![0; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(&bytes);
        Self { name, kind, words, len: bytes.len() }
    }

    /// As kernels take them.
    pub fn weights(&self) -> Weights<'_> {
        Weights { kind: self.kind, bytes: &bytemuck::cast_slice(&self.words)[..self.len] }
    }

    /// Their values.
    pub fn values(&self) -> Vec<f32> {
        let weights = self.weights();
        (0..weights.len()).map(|i| weights.get(i)).collect()
    }
}

/// The pattern of a value, and whether it is below zero.
fn stored(kind: FloatKind, value: f32) -> (u32, bool) {
    (kind.pattern(value.abs()), value < 0.0)
}

/// Bell-shaped, as weights are.
fn normal(kind: FloatKind) -> Sample {
    let mut state = 1u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32
    };
    let weight = move |_| (uniform() + uniform() + uniform() + uniform() - 2.0) * 0.05;
    Sample::new("normal values", kind, (0..8 * COLUMNS).map(weight).map(|w| stored(kind, w)))
}

/// Whole, half and quarter steps, under scales that are powers of two.
fn ties(kind: FloatKind) -> Sample {
    let weight = |(amax, i): (u32, usize)| {
        let quarters = (i as u32 * 37) % (8 * amax + 1);
        let value = if i % 16 == 0 { amax as f32 } else { quarters as f32 / 4.0 - amax as f32 };
        value / 8.0
    };
    let all = AMAXES.into_iter().flat_map(|amax| (0..COLUMNS).map(move |i| (amax, i)));
    Sample::new("ties", kind, all.map(weight).map(|w| stored(kind, w)))
}

/// Numbers below the smallest normal one, zeros among them.
fn subnormals(kind: FloatKind) -> Sample {
    let normal = 1u32 << kind.mantissa_bits();
    let step = normal / 997 + 1;
    let all = (0..4 * COLUMNS as u32).map(move |i| (i.wrapping_mul(step) % normal, i % 3 == 0));
    Sample::new("subnormal numbers", kind, all)
}

/// The largest numbers, one among the smallest, zeros of both signs, and every power of two.
fn extremes(kind: FloatKind) -> Sample {
    let largest = kind.pattern(kind.max());
    let normal = kind.mantissa_bits();
    let row = |row: u32| (0..COLUMNS as u32).map(move |i| (row, i));
    let weight = move |(row, i): (u32, u32)| match row {
        0 => (largest - i % 3, i % 2 == 0),
        1 => (if i == 100 { largest } else { 1 + i % 2 }, i % 5 == 0),
        2 => (0, i % 2 == 0),
        _ => ((i << normal) % (largest + 1), i % 7 == 0),
    };
    Sample::new("extreme values", kind, (0..4).flat_map(row).map(weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_finite_and_have_what_they_are_for() {
        for kind in KINDS {
            let [normal, ties, subnormal, extremes] = Sample::all(kind).map(|sample| {
                assert_eq!(sample.weights().len() % COLUMNS, 0);
                sample.values()
            });
            let all = [&normal[..], &ties, &subnormal, &extremes].concat();
            assert!(all.iter().all(|value| value.is_finite()));
            let has =
                |values: &[f32], value: f32| values.iter().any(|v| v.to_bits() == value.to_bits());
            assert!(has(&ties, 0.25 / 8.0) && has(&ties, -2.5 / 8.0) && has(&ties, 448.0 / 8.0));
            assert!(subnormal.iter().all(|value| value.abs() < kind.min_normal()));
            assert!(has(&extremes, kind.max()) && has(&extremes, -0.0) && has(&extremes, 0.0));
            assert!(has(&extremes, -kind.max()));
        }
    }
}
