//! NVFP4 turned into integer comparisons for one global scale.
//!
//! Both rounding steps are monotone in a magnitude, so each is a list of the smallest magnitudes
//! at which the result moves up. [`Nvfp4Tables`] finds those lists by asking the specification
//! itself, which leaves the backends nothing to compute: a backend that compares bit patterns with
//! these tables cannot round differently, whatever its division, subnormals or contraction do.

use std::sync::OnceLock;

use super::nvfp4::{Scaling, decode, encode, reaches};
use super::nvfp4_search::{Search, TRIAL_CODES};
use crate::numeric::{e2m1, e4m3};

/// Scale codes a table has room for: 0 is never used, 126 is the largest.
pub const SCALE_CODES: usize = e4m3::MAX_CODE as usize + 1;

const INFINITY: u32 = 0x7F80_0000;

/// All that a backend needs to quantize and dequantize under one global scale.
#[derive(Debug, Clone)]
pub struct Nvfp4Tables {
    /// The scales of the tensor, and the kind of weight whose patterns the thresholds are.
    pub scaling: Scaling,
    /// What else block scales are tried by, if they are searched for.
    pub search: Option<Box<SearchTables>>,
    thresholds: OnceLock<Thresholds>,
}

/// The arithmetic of one global scale turned into integer comparisons. Magnitudes are bit patterns of the
/// weights' own kind, sign bit clear.
#[derive(Debug, Clone)]
pub struct Thresholds {
    /// `scale_starts[c]`: smallest block amax whose scale code is at least `c`. A block amax below
    /// `scale_starts[1]` has the scale code of a block of zeros.
    pub scale_starts: [u32; SCALE_CODES],
    /// `code_starts[c][k]`: under scale code `c`, smallest magnitude whose code is above `k`.
    pub code_starts: Vec<[u32; 7]>,
    /// Under scale code `c`, smallest magnitude whose code has a sign: a quotient that is too small for f32
    /// is a zero, and a zero has none.
    pub sign_starts: Vec<u32>,
    /// Under scale code `c`, smallest magnitude that no code matches: more than a step beyond the
    /// largest one.
    pub beyond_starts: Vec<u32>,
    /// `values[c][k]`: f32 bits of what code `k` under scale code `c` stands for.
    pub values: Vec<[u32; 8]>,
}

/// A search turned into integer comparisons. Magnitudes are f32 bit patterns, whatever the kind of
/// the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchTables {
    /// The search that the thresholds are of.
    pub search: Search,
    /// `trial_starts[c]`: smallest tried magnitude whose trial scale code is at least `c`.
    pub trial_starts: [u32; TRIAL_CODES],
    /// `stored_starts[c]`: smallest tried magnitude whose stored scale code is at least `c`; one
    /// below `stored_starts[1]` has that of a block of zeros.
    pub stored_starts: [u32; TRIAL_CODES],
    /// `code_starts[c][k]`: under trial scale code `c`, smallest magnitude whose code is above `k`.
    pub code_starts: Vec<[u32; 7]>,
    /// `values[c][k]`: f32 bits of what code `k` under trial scale code `c` stands for.
    pub values: Vec<[u32; 8]>,
}

impl Nvfp4Tables {
    /// The tables of a tensor.
    pub const fn new(scaling: Scaling) -> Self {
        Self { scaling, search: None, thresholds: OnceLock::new() }
    }

    /// The thresholds. They are found when they are first asked for: it takes as long as quantizing half a million
    /// weights does, and whoever computes as the specification does needs none.
    pub fn thresholds(&self) -> &Thresholds {
        self.thresholds.get_or_init(|| Thresholds::new(&self.scaling))
    }

    /// The tables of a tensor whose block scales are searched for.
    pub fn searching(search: Search) -> Self {
        Self::new(search.scaling).with_search(search)
    }

    fn with_search(self, search: Search) -> Self {
        let starts = |code: &dyn Fn(f32) -> u8| {
            std::array::from_fn(|c| {
                let reaches = |bits: u32| usize::from(code(f32::from_bits(bits))) >= c;
                first_that(reaches, if c == 0 { 0 } else { INFINITY / 2 })
            })
        };
        let values = |step: f32| std::array::from_fn(|k| decode(k as u8, step).to_bits());
        let tables = SearchTables {
            trial_starts: starts(&|magnitude| search.trial_code(magnitude)),
            stored_starts: starts(&|magnitude| search.scaling.nonzero_block_scale(magnitude)),
            code_starts: search.steps.iter().map(|step| code_starts(*step)).collect(),
            values: search.steps.iter().map(|step| values(*step)).collect(),
            search,
        };
        Self { search: Some(Box::new(tables)), ..self }
    }
}

impl Thresholds {
    fn new(scaling: &Scaling) -> Self {
        let in_kind = |f32_bits: u32| scaling.kind.first_pattern_at_least(f32_bits);

        let scale_starts = std::array::from_fn(|c| {
            let reaches =
                |bits: u32| usize::from(scaling.nonzero_block_scale(f32::from_bits(bits))) >= c;
            let guess = if c <= 1 { 0.0 } else { scaling.step(c as u8) * e2m1::MAX };
            in_kind(first_that(reaches, guess.to_bits()))
        });

        let code_starts = (0..SCALE_CODES).map(|c| code_starts(scaling.step(c as u8)).map(in_kind));

        let sign_starts = (0..SCALE_CODES).map(|c| {
            let step = scaling.step(c as u8);
            let has_sign = |bits: u32| encode(-f32::from_bits(bits), step) & e2m1::SIGN != 0;
            in_kind(first_that(has_sign, 1))
        });

        let beyond_starts = (0..SCALE_CODES).map(|c| {
            let step = scaling.step(c as u8);
            // Not "greater": a step of zero has no quotient for zero, and matches nothing.
            let beyond = |bits: u32| !reaches(f32::from_bits(bits), step);
            in_kind(first_that(beyond, ((e2m1::MAX + 2.0) * step).to_bits()))
        });

        let values = (0..SCALE_CODES).map(|c| {
            let step = scaling.step(c as u8);
            std::array::from_fn(|k| decode(k as u8, step).to_bits())
        });

        Self {
            scale_starts,
            code_starts: code_starts.collect(),
            sign_starts: sign_starts.collect(),
            beyond_starts: beyond_starts.collect(),
            values: values.collect(),
        }
    }
}

/// The smallest magnitudes, as f32 bits, whose codes under a step are above 0 to 6.
fn code_starts(step: f32) -> [u32; 7] {
    let midpoints = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
    std::array::from_fn(|k| {
        let reaches = |bits: u32| usize::from(encode(f32::from_bits(bits), step)) > k;
        first_that(reaches, (midpoints[k] * step).to_bits())
    })
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
    use crate::format::nvfp4::Rule;
    use crate::numeric::FloatKind;

    fn scalings() -> Vec<Scaling> {
        let amaxes = [0.0, 1e-42, 1.3e-38, 0.037, 0.125, 1.0, 10.5, 65504.0, 1e30, f32::MAX];
        let rules = [Rule::Dynamic, Rule::Static { largest: 256 }, Rule::CompressedTensors];
        let of_rule = |rule| amaxes.map(|amax| Scaling::new(rule, FloatKind::F32, amax));
        rules.into_iter().flat_map(of_rule).collect()
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
        for scaling in scalings() {
            let tables = Thresholds::new(&scaling);
            for c in 1..SCALE_CODES {
                let start = tables.scale_starts[c];
                if start < INFINITY {
                    assert!(usize::from(scaling.block_scale(f32::from_bits(start))) >= c);
                }
                if c > 1 && start > tables.scale_starts[1] {
                    assert!(usize::from(scaling.block_scale(f32::from_bits(start - 1))) < c);
                }
                let step = scaling.step(c as u8);
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
            let rules = [Rule::Dynamic, Rule::Static { largest: 448 }, Rule::CompressedTensors];
            let scaling = |rule| {
                [0.037, 60000.0, 1e-6, kind.max()].map(|amax| Scaling::new(rule, kind, amax))
            };
            for scaling in rules.into_iter().flat_map(scaling) {
                let tables = Thresholds::new(&scaling);
                for pattern in 0..=last_finite {
                    let value = kind.widen(pattern);
                    let scale = tables.scale_starts[1..].partition_point(|&start| start <= pattern);
                    let scale = if scale == 0 { scaling.zero_block_scale() } else { scale as u8 };
                    assert_eq!(scale, scaling.block_scale(value), "{kind:?} {pattern:#x}");
                    for c in [1, 7, 8, 0x38, 0x7E] {
                        let code = tables.code_starts[c].partition_point(|&start| start <= pattern);
                        assert_eq!(code as u8, encode(value, scaling.step(c as u8)));
                        let sign = u8::from(pattern >= tables.sign_starts[c]) * e2m1::SIGN;
                        assert_eq!(code as u8 | sign, encode(-value, scaling.step(c as u8)));
                    }
                }
            }
        }
    }
}
