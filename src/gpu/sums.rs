//! Sums that the kernels take in f32, brought back to f64.
//!
//! Squares of f32 values leave the range of f32, and a GPU may flush its smallest numbers to zero.
//! The kernels therefore multiply by a power of two that brings the tensor's largest magnitude
//! near 1. Where even that would lose what is displayed, the CPU takes the sums.

use bytemuck::{Pod, Zeroable};

use super::kernels::Kernel;
use crate::backend::TieMatch;
use crate::format::{Nvfp4Tables, SCALE_CODES};
use crate::stats::{ErrorSums, WeightSums};

/// Sums of one workgroup as `shaders/shared/sums.wgsl` writes them.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Partial {
    zeros: u32,
    sum: f32,
    sum_abs: f32,
    sum_squares: f32,
    error_squares: f32,
    error_max: f32,
}

/// Bytes that each workgroup writes.
pub const PARTIAL_BYTES: usize = size_of::<Partial>();

/// Bytes that each workgroup of a kernel that compares writes.
pub const fn partial_bytes(kernel: Kernel) -> usize {
    match kernel {
        Kernel::Nvfp4Match | Kernel::GroupedMatch => size_of::<Apart>(),
        _ => PARTIAL_BYTES,
    }
}

/// What one workgroup found to be apart, as `shaders/shared/matches.wgsl` writes it.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Apart {
    count: u32,
    first: u32,
}

/// Adds what the workgroups found in the next piece of `len` weights.
pub fn merge_matches(all: &mut TieMatch, bytes: &[u8], len: usize) {
    for apart in bytes.chunks_exact(size_of::<Apart>()) {
        let apart: Apart = bytemuck::pod_read_unaligned(apart);
        if apart.count > 0 {
            all.apart += u64::from(apart.count);
            let first = all.weights + u64::from(apart.first);
            all.first = Some(all.first.map_or(first, |known| known.min(first)));
        }
    }
    all.weights += len as u64;
}

/// Smallest exponent of a tensor's largest magnitude for which the kernels take the sums: what is
/// subnormal in f32 is then too small to show.
const MIN_EXPONENT: i32 = -100;

/// Smallest mean magnitude of non-zero weights, as a fraction of the largest in the tensor, whose
/// squares, and those of errors as small as their last bit, stay above f32's smallest number.
const MIN_MEAN: f64 = 1.0 / (1u64 << 30) as f64;

/// The power of two to multiply weights by, where no weight or value is much larger than `largest`;
/// `None` where the CPU is to take the sums.
pub fn unit(largest: f32) -> Option<f32> {
    let biased = (largest.to_bits() >> 23) as i32;
    // 2⁻¹²⁶ is the smallest power that no GPU flushes.
    let exponent = (biased - 127).min(126);
    (exponent >= MIN_EXPONENT).then(|| f32::from_bits(((127 - exponent) as u32) << 23))
}

/// What the largest code under the largest scale stands for: at least as large as any weight.
pub fn largest(tables: &Nvfp4Tables) -> f32 {
    f32::from_bits(tables.thresholds().values[SCALE_CODES - 1][7])
}

/// The sums over `count` weights from what the workgroups wrote, or `None` where the CPU is to
/// take them.
pub fn merge(bytes: &[u8], count: usize, unit: f32) -> Option<(WeightSums, ErrorSums)> {
    let mut weights = WeightSums { count: count as u64, ..Default::default() };
    let mut errors = ErrorSums::default();
    for partial in bytes.chunks_exact(PARTIAL_BYTES) {
        let partial: Partial = bytemuck::pod_read_unaligned(partial);
        weights.zeros += u64::from(partial.zeros);
        weights.sum += f64::from(partial.sum);
        weights.sum_abs += f64::from(partial.sum_abs);
        weights.sum_squares += f64::from(partial.sum_squares);
        errors.sum_squares += f64::from(partial.error_squares);
        errors.max_abs = errors.max_abs.max(f64::from(partial.error_max));
    }
    // A driver may add first and multiply by the unit afterwards, and so leave the range.
    let finite = [weights.sum, weights.sum_abs, weights.sum_squares, errors.sum_squares]
        .iter()
        .all(|sum| sum.is_finite());
    let non_zero = weights.count.saturating_sub(weights.zeros);
    if !finite || weights.sum_abs < non_zero as f64 * MIN_MEAN {
        return None;
    }
    let unit = f64::from(unit);
    weights.sum /= unit;
    weights.sum_abs /= unit;
    weights.sum_squares /= unit * unit;
    errors.sum_squares /= unit * unit;
    errors.max_abs /= unit;
    Some((weights, errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::nvfp4::{Rule, Scaling};
    use crate::numeric::FloatKind;

    fn tables(amax: f32) -> Nvfp4Tables {
        Nvfp4Tables::new(Scaling::new(Rule::Dynamic, FloatKind::F32, amax))
    }

    #[test]
    fn the_unit_brings_the_largest_magnitude_near_one() {
        for amax in [1e-29, 1e-9, 0.037, 1.0, 65504.0, 1e30, f32::MAX] {
            let tables = tables(amax);
            let unit = unit(largest(&tables)).unwrap();
            assert!(unit.is_normal() && unit.to_bits() & 0x7F_FFFF == 0);
            assert!((0.5..=4.0).contains(&(amax * unit)), "{amax}");
        }
        for amax in [0.0, 1e-42, 1e-38, 1e-31] {
            assert_eq!(unit(largest(&tables(amax))), None);
        }
    }

    #[test]
    fn sums_too_small_or_too_large_for_f32_are_refused() {
        let merged = |partial: Partial| merge(bytemuck::bytes_of(&partial), 16, 1.0);
        let partial = Partial {
            zeros: 8,
            sum: 4.0,
            sum_abs: 8.0,
            sum_squares: 8.0,
            error_squares: 0.5,
            error_max: 0.5,
        };
        let (weights, errors) = merged(partial).unwrap();
        assert_eq!((weights.count, weights.zeros, weights.sum), (16, 8, 4.0));
        assert_eq!(errors, ErrorSums { sum_squares: 0.5, max_abs: 0.5 });
        assert_eq!(merged(Partial { sum_abs: 1e-10, ..partial }), None);
        assert_eq!(merged(Partial { sum_squares: f32::INFINITY, ..partial }), None);
        assert!(merged(Partial { zeros: 16, sum_abs: 0.0, ..partial }).is_some());
    }
}
