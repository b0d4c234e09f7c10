//! NVFP4 turned into integer comparisons for one global scale.
//!
//! Both rounding steps are monotone in a magnitude, so each is a list of the smallest magnitudes
//! at which the result moves up. [`Nvfp4Tables`] finds those lists by asking the specification
//! itself, which leaves the backends nothing to compute: a backend that compares bit patterns with
//! these tables cannot round differently, whatever its division, subnormals or contraction do.

use super::nvfp4::{block_scale, decode, encode, step};
use crate::numeric::{FloatKind, e4m3};

/// Scale codes a table has room for: 0 is never used, 126 is the largest.
pub const SCALE_CODES: usize = e4m3::MAX_CODE as usize + 1;

const INFINITY: u32 = 0x7F80_0000;

/// All that a backend needs to quantize and dequantize under one global scale. Magnitudes are bit
/// patterns of the weights' own kind, sign bit clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nvfp4Tables {
    /// The kind of weight whose patterns the thresholds are.
    pub kind: FloatKind,
    /// The f32 scale of the tensor.
    pub global_scale_bits: u32,
    /// `scale_starts[c]`: smallest block amax whose scale code is at least `c`. A block amax below
    /// `scale_starts[1]` (zero, or so small that its quotient is) has the scale code of 1.0.
    pub scale_starts: [u32; SCALE_CODES],
    /// `code_starts[c][k]`: under scale code `c`, smallest magnitude whose code is above `k`.
    pub code_starts: Vec<[u32; 7]>,
    /// `values[c][k]`: f32 bits of what code `k` under scale code `c` stands for.
    pub values: Vec<[u32; 8]>,
}

impl Nvfp4Tables {
    /// Tables for weights of `kind` under `global_scale`, which is above zero and finite.
    pub fn new(kind: FloatKind, global_scale: f32) -> Self {
        let in_kind = |f32_bits: u32| kind.first_pattern_at_least(f32_bits);

        let divisor = 6.0 * global_scale;
        let scale_starts = std::array::from_fn(|c| {
            let reaches = |bits: u32| {
                let amax = f32::from_bits(bits);
                amax / divisor != 0.0 && usize::from(block_scale(amax, global_scale)) >= c
            };
            let guess = if c <= 1 { 0.0 } else { e4m3::decode(c as u8) * divisor };
            in_kind(first_that(reaches, guess.to_bits()))
        });

        let code_starts = (0..SCALE_CODES).map(|c| {
            let step = step(c as u8, global_scale);
            let midpoints = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
            std::array::from_fn(|k| {
                let reaches = |bits: u32| usize::from(encode(f32::from_bits(bits), step)) > k;
                in_kind(first_that(reaches, (midpoints[k] * step).to_bits()))
            })
        });

        let values = (0..SCALE_CODES).map(|c| {
            let step = step(c as u8, global_scale);
            std::array::from_fn(|k| decode(k as u8, step).to_bits())
        });

        Self {
            kind,
            global_scale_bits: global_scale.to_bits(),
            scale_starts,
            code_starts: code_starts.collect(),
            values: values.collect(),
        }
    }

    /// The f32 scale of the tensor.
    pub fn global_scale(&self) -> f32 {
        f32::from_bits(self.global_scale_bits)
    }
}

/// The smallest f32 magnitude pattern for which `holds` is true; infinity if it is for no finite
/// one. `holds` is monotone; the search starts at `guess` and doubles its stride.
fn first_that(holds: impl Fn(u32) -> bool, guess: u32) -> u32 {
    let guess = guess.min(INFINITY);
    let (mut low, mut high, mut stride) = (guess, guess, 1);
    // Invariant sought: everything below `low` fails and `high` holds (or is infinity).
    while low > 0 && holds(low - 1) {
        high = low - 1;
        low = low.saturating_sub(stride);
        stride *= 2;
    }
    stride = 1;
    while high < INFINITY && !holds(high) {
        low = high + 1;
        high = high.saturating_add(stride).min(INFINITY);
        stride *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::nvfp4::global_scale;

    fn global_scales() -> Vec<f32> {
        let amaxes = [0.0, 1e-42, 1.3e-38, 0.037, 0.125, 1.0, 10.5, 65504.0, 1e30, f32::MAX];
        amaxes.map(global_scale).to_vec()
    }

    #[test]
    fn first_that_finds_the_boundary_from_any_guess() {
        for boundary in [0, 1, 5, 0x3F80_0000, INFINITY - 1, INFINITY] {
            for guess in [0, 1, 4, 5, 6, 0x3F7F_0000, 0x3F80_0000, 0x4000_0000, INFINITY, u32::MAX]
            {
                assert_eq!(first_that(|bits| bits >= boundary, guess), boundary);
            }
        }
    }

    #[test]
    fn thresholds_are_exact_boundaries_of_the_specification() {
        for global_scale in global_scales() {
            let tables = Nvfp4Tables::new(FloatKind::F32, global_scale);
            for c in 1..SCALE_CODES {
                let start = tables.scale_starts[c];
                if start < INFINITY {
                    assert!(usize::from(block_scale(f32::from_bits(start), global_scale)) >= c);
                }
                if c > 1 && start > tables.scale_starts[1] {
                    assert!(usize::from(block_scale(f32::from_bits(start - 1), global_scale)) < c);
                }
                let step = step(c as u8, global_scale);
                for k in 0..7 {
                    let start = tables.code_starts[c][k];
                    if start < INFINITY {
                        assert!(usize::from(encode(f32::from_bits(start), step)) > k);
                    }
                    if start > 0 {
                        assert!(usize::from(encode(f32::from_bits(start - 1), step)) <= k);
                    }
                }
            }
        }
    }

    #[test]
    fn every_16_bit_magnitude_gets_the_code_of_the_specification() {
        for (kind, last_finite) in [(FloatKind::Bf16, 0x7F7F), (FloatKind::F16, 0x7BFF)] {
            for global_scale in [global_scale(0.037), global_scale(60000.0), global_scale(1e-6)] {
                let tables = Nvfp4Tables::new(kind, global_scale);
                for pattern in 0..=last_finite {
                    let value = kind.widen(pattern);
                    let scale = tables.scale_starts[1..].partition_point(|&start| start <= pattern);
                    let scale = if scale == 0 { 0x38 } else { scale as u8 };
                    assert_eq!(scale, block_scale(value, global_scale), "{kind:?} {pattern:#x}");
                    for c in [1, 7, 8, 0x38, 0x7E] {
                        let code = tables.code_starts[c].partition_point(|&start| start <= pattern);
                        assert_eq!(code as u8, encode(value, step(c as u8, global_scale)));
                    }
                }
            }
        }
    }
}
