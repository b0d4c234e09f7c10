//! Weights that are hard on a kernel, and sums that are as good as others.

use super::Random;
use quantscope::backend::{Backend, Weights};
use quantscope::cpu::Cpu;
use quantscope::numeric::FloatKind;
use quantscope::stats::{ErrorSums, WeightSums};

pub const KINDS: [FloatKind; 3] = [FloatKind::Bf16, FloatKind::F16, FloatKind::F32];

impl Random {
    /// A finite weight of either sign whose magnitude pattern is below `end`.
    pub fn pattern(&mut self, kind: FloatKind, end: u32) -> u32 {
        self.below(end as usize) as u32 | self.sign(kind)
    }

    /// The sign bit of a kind, or nothing.
    pub fn sign(&mut self, kind: FloatKind) -> u32 {
        if self.bits() >> 63 == 0 { 0 } else { sign(kind) }
    }
}

pub fn sign(kind: FloatKind) -> u32 {
    1 << (8 * kind.bytes() - 1)
}

/// The first magnitude pattern that is no finite number.
pub fn infinity(kind: FloatKind) -> u32 {
    match kind {
        FloatKind::Bf16 => 0x7F80,
        FloatKind::F16 => 0x7C00,
        FloatKind::F32 => 0x7F80_0000,
    }
}

/// The first magnitude pattern that is a normal number.
pub fn normal(kind: FloatKind) -> u32 {
    match kind {
        FloatKind::Bf16 => 0x0080,
        FloatKind::F16 => 0x0400,
        FloatKind::F32 => 0x0080_0000,
    }
}

/// Weights in memory that is aligned for every kind.
pub struct Tensor {
    pub what: String,
    pub kind: FloatKind,
    words: Vec<u32>,
    len: usize,
}

impl Tensor {
    pub fn new(what: impl Into<String>, kind: FloatKind, patterns: &[u32]) -> Self {
        let bytes: Vec<u8> =
            patterns.iter().flat_map(|p| p.to_le_bytes().into_iter().take(kind.bytes())).collect();
        Self::from_bytes(what, kind, &bytes)
    }

    pub fn from_bytes(what: impl Into<String>, kind: FloatKind, bytes: &[u8]) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { what: format!("{} {kind:?}", what.into()), kind, words, len: bytes.len() }
    }

    pub fn weights(&self) -> Weights<'_> {
        Weights { kind: self.kind, bytes: &bytemuck::cast_slice(&self.words)[..self.len] }
    }

    /// The patterns of the weights.
    pub fn patterns(&self) -> Vec<u32> {
        let element = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, b| all << 8 | u32::from(*b));
        self.weights().bytes.chunks(self.kind.bytes()).map(element).collect()
    }

    pub fn amax(&self) -> f32 {
        self.kind.widen(Cpu.amax(self.weights()).unwrap())
    }
}

pub fn assert_close(got: (WeightSums, ErrorSums), expected: (WeightSums, ErrorSums), what: &str) {
    let ((got, got_errors), (weights, errors)) = (got, expected);
    assert_eq!((got.count, got.zeros), (weights.count, weights.zeros), "{what}");
    let close = |name: &str, a: f64, b: f64, tolerance: f64| {
        assert!(a == b || (a - b).abs() <= tolerance, "{what}: {name} {a:e}, on the CPU {b:e}");
    };
    let rms = (weights.sum_squares / weights.count.max(1) as f64).sqrt();
    close("sum", got.sum, weights.sum, 1e-4 * weights.sum_abs);
    close("sum_abs", got.sum_abs, weights.sum_abs, 1e-4 * weights.sum_abs);
    close("sum_squares", got.sum_squares, weights.sum_squares, 1e-4 * weights.sum_squares);
    let floor = 1e-12 * weights.sum_squares;
    close("errors", got_errors.sum_squares, errors.sum_squares, 1e-4 * errors.sum_squares + floor);
    close("error_max", got_errors.max_abs, errors.max_abs, 1e-4 * errors.max_abs + 1e-7 * rms);
}
