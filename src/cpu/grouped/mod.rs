//! Formats with one level of scales. Twins of the `grouped_*` kernels in `shaders/`.
//!
//! Kernels go along [`segments`] of weights that share a scale, and call the specification. They are
//! fast because they are compiled once for each arithmetic ([`arithmetic`]), so that its choices are
//! made outside of the loops, and the loops vectorise.

mod amaxes;
mod arithmetic;
mod codes;
mod extents;
mod k_quant;
mod segments;
#[cfg(test)]
mod tests;

use super::sums::Sums;
use crate::backend::{Grouped, GroupedChunk, TieMatch};
use crate::format::{Coder, GroupScale, ScaleSearch, Scheme};
use crate::numeric::{FloatKind, SourceFloat};
use crate::stats::{ErrorSums, WeightSums};
use segments::Segments;

/// Weights of a tensor with one scale that are gone over at once: few enough to be in the cache when they are
/// encoded.
const TOGETHER: usize = 16 << 10;

/// Codes and scales of whole rows.
pub fn quantize<F: SourceFloat>(weights: &[F], columns: usize, coder: &Coder) -> Grouped {
    match coder.tensor_scale {
        Some(scale) => quantize_under(scale, weights, coder),
        None => quantize_groups(weights, columns, coder),
    }
}

fn quantize_under<F: SourceFloat>(scale: GroupScale, weights: &[F], coder: &Coder) -> Grouped {
    let mut codes = vec![0; weights.len()];
    let (mut amax, mut sums) = (0, Sums::new(coder.amax));
    for (weights, codes) in weights.chunks(TOGETHER).zip(codes.chunks_mut(TOGETHER)) {
        amax = amax.max(super::amax::amax(weights));
        let segments = Segments::new(coder.scheme.scope, weights.len(), weights.len());
        codes::encode(weights, segments, &coder.scheme, &[scale], codes, &mut sums);
    }
    let chunk = GroupedChunk { columns: weights.len(), codes: &codes, scales: &[scale] };
    let (weights, errors) = sums.plain_or(|| errors(weights, chunk, &coder.scheme));
    Grouped { codes, scales: vec![scale], amax, weights, errors }
}

fn quantize_groups<F: SourceFloat>(weights: &[F], columns: usize, coder: &Coder) -> Grouped {
    let (mut scales, amax) = extents::scales(weights, columns, coder);
    let mut codes = vec![0; weights.len()];
    let mut sums = Sums::new(F::KIND.widen(amax));
    let segments = Segments::new(coder.scheme.scope, weights.len(), columns);
    if coder.scheme.search == ScaleSearch::KQuant {
        k_quant::improve(weights, segments.clone(), &coder.scheme, &mut scales);
    }
    codes::encode(weights, segments, &coder.scheme, &scales, &mut codes, &mut sums);
    let chunk = GroupedChunk { columns, codes: &codes, scales: &scales };
    let (weights, errors) = sums.plain_or(|| errors(weights, chunk, &coder.scheme));
    Grouped { codes, scales, amax, weights, errors }
}

/// The f32 values that codes stand for.
pub fn dequantize(chunk: GroupedChunk<'_>, scheme: &Scheme) -> Vec<f32> {
    let mut values = vec![0.0; chunk.codes.len()];
    let segments = Segments::new(scheme.scope, chunk.codes.len(), chunk.columns);
    codes::decode(chunk, segments, scheme, &mut values);
    values
}

/// Sums over weights and errors.
pub fn errors<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    scheme: &Scheme,
) -> (WeightSums, ErrorSums) {
    Sums::with_errors(weights, |sums| {
        let segments = Segments::new(scheme.scope, weights.len(), chunk.columns);
        codes::add_errors(weights, chunk, segments, scheme, sums);
    })
}

/// Compares weights with codes.
pub fn compare<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    scheme: &Scheme,
    made_of: FloatKind,
) -> TieMatch {
    let mut result = TieMatch { weights: weights.len() as u64, ..Default::default() };
    let segments = Segments::new(scheme.scope, weights.len(), chunk.columns);
    codes::compare(weights, chunk, segments, (scheme, made_of), &mut result);
    result
}
