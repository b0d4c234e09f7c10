//! Scales of groups by rules that need only the largest magnitudes.

use bytemuck::Zeroable;
use multiversion::multiversion;

use super::extents::{LANES, TOGETHER, windows};
use super::segments::Segments;
use crate::format::{Coder, Extent, GroupScale};
use crate::numeric::SourceFloat;

/// Fills in the scales of all groups, and gives the largest magnitude.
pub fn scales<F: SourceFloat>(
    weights: &[F],
    segments: Segments,
    coder: &Coder,
    scales: &mut [GroupScale],
) -> u32 {
    let mut magnitudes = vec![F::Bits::zeroed(); scales.len()];
    add_magnitudes(weights, segments, &mut magnitudes);
    let mut extents = [Extent::of_amax(0.0); TOGETHER];
    let mut amax = 0;
    for window in windows(scales.len()) {
        let extents = &mut extents[..window.len()];
        amax = amax.max(extents_of::<F>(&magnitudes[window.clone()], extents));
        coder.scales(extents, &mut scales[window]);
    }
    amax
}

/// Writes the extents of groups of which only the largest magnitudes are known, and gives the largest of all.
#[multiversion(targets = "simd")]
fn extents_of<F: SourceFloat>(magnitudes: &[F::Bits], extents: &mut [Extent]) -> u32 {
    let mut largest = F::Bits::zeroed();
    for (extent, magnitude) in extents.iter_mut().zip(magnitudes) {
        *extent = Extent::of_amax(F::from_magnitude(*magnitude).to_f32());
        largest = largest.max(*magnitude);
    }
    largest.into()
}

/// Adds weights to the largest magnitudes of their groups.
#[multiversion(targets = "simd")]
fn add_magnitudes<F: SourceFloat>(weights: &[F], segments: Segments, magnitudes: &mut [F::Bits]) {
    if let Some(len) = segments.even_len() {
        for (magnitude, weights) in magnitudes.iter_mut().zip(weights.chunks_exact(len)) {
            *magnitude = magnitude_of(weights);
        }
        return;
    }
    for (segment, group) in segments {
        magnitudes[group] = magnitudes[group].max(magnitude_of(&weights[segment]));
    }
}

#[inline(always)]
fn magnitude_of<F: SourceFloat>(segment: &[F]) -> F::Bits {
    let (chunks, rest) = segment.as_chunks::<LANES>();
    let mut largest = [F::Bits::zeroed(); LANES];
    for chunk in chunks {
        for (largest, weight) in largest.iter_mut().zip(chunk) {
            *largest = (*largest).max(weight.magnitude());
        }
    }
    let mut of_all = F::Bits::zeroed();
    for magnitude in largest {
        of_all = of_all.max(magnitude);
    }
    for weight in rest {
        of_all = of_all.max(weight.magnitude());
    }
    of_all
}
