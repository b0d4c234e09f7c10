//! Scales of groups by rules that need only the largest magnitudes.

use bytemuck::Zeroable;
use multiversion::multiversion;

use super::extents::{LANES, TOGETHER};
use super::segments::Segments;
use crate::cpu::amax::largest;
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
    for (magnitudes, scales) in magnitudes.chunks(TOGETHER).zip(scales.chunks_mut(TOGETHER)) {
        let extents = &mut extents[..scales.len()];
        amax = amax.max(extents_of::<F>(magnitudes, extents));
        coder.scales(extents, scales);
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
            *magnitude = largest::<F, LANES>(weights);
        }
        return;
    }
    for (segment, group) in segments {
        magnitudes[group] = magnitudes[group].max(largest::<F, LANES>(&weights[segment]));
    }
}
