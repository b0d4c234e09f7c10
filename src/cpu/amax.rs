use bytemuck::Zeroable;
use multiversion::multiversion;

use crate::numeric::SourceFloat;

/// Largest magnitude pattern of any number of weights; 0 for none. Twin of `shaders/amax.wgsl`.
#[multiversion(targets = "simd")]
pub fn amax<F: SourceFloat>(weights: &[F]) -> u32 {
    largest::<F, 64>(weights).into()
}

/// Largest magnitude of any number of weights, so many of them at once: lanes that the compiler turns into vector
/// registers.
#[inline(always)]
pub(super) fn largest<F: SourceFloat, const LANES: usize>(weights: &[F]) -> F::Bits {
    let (chunks, rest) = weights.as_chunks::<LANES>();
    let mut of_lanes = [F::Bits::zeroed(); LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            of_lanes[lane] = of_lanes[lane].max(chunk[lane].magnitude());
        }
    }
    let mut of_all = F::Bits::zeroed();
    for magnitude in of_lanes {
        of_all = of_all.max(magnitude);
    }
    for weight in rest {
        of_all = of_all.max(weight.magnitude());
    }
    of_all
}
