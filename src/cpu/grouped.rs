//! Formats with one level of scales. Twins of the `grouped_*` kernels in `shaders/`.

use super::weight_sums;
use crate::backend::{Grouped, GroupedChunk, TieMatch, Weights};
use crate::format::{Coder, Extent, Scheme};
use crate::numeric::SourceFloat;
use crate::stats::{ErrorSums, WeightSums};

/// Codes and scales of whole rows.
pub fn quantize<F: SourceFloat>(weights: &[F], columns: usize, coder: &Coder) -> Grouped {
    let scheme = &coder.scheme;
    let rows = weights.len() / columns.max(1);
    let mut extents = vec![Extent::of_amax(0.0); scheme.scope.count(rows, columns)];
    let mut amax = 0;
    for (i, weight) in weights.iter().enumerate() {
        amax = amax.max(weight.magnitude().into());
        let extent = &mut extents[scheme.scope.index(i / columns, i % columns, columns)];
        extent.min = extent.min.min(weight.to_f32());
        extent.max = extent.max.max(weight.to_f32());
    }
    let scales: Vec<_> = extents.into_iter().map(|extent| coder.scale(extent)).collect();
    let code = |(i, weight): (usize, &F)| {
        let group = scales[scheme.scope.index(i / columns, i % columns, columns)];
        scheme.encode(weight.to_f32(), group, F::KIND)
    };
    let codes: Vec<u8> = weights.iter().enumerate().map(code).collect();
    let chunk = GroupedChunk { columns, codes: &codes, scales: &scales };
    let (sums, errors) = errors(weights, chunk, scheme);
    Grouped { codes, scales, amax, weights: sums, errors }
}

/// The f32 values that codes stand for.
pub fn dequantize(chunk: GroupedChunk<'_>, scheme: &Scheme) -> Vec<f32> {
    let columns = chunk.columns;
    let value = |(i, code): (usize, &u8)| {
        scheme.decode(*code, chunk.scales[scheme.scope.index(i / columns, i % columns, columns)])
    };
    chunk.codes.iter().enumerate().map(value).collect()
}

/// Sums over weights and errors.
pub fn errors<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    scheme: &Scheme,
) -> (WeightSums, ErrorSums) {
    let mut errors = ErrorSums::default();
    for (weight, value) in weights.iter().zip(dequantize(chunk, scheme)) {
        let error = (f64::from(weight.to_f32()) - f64::from(value)).abs();
        errors.sum_squares += error * error;
        errors.max_abs = errors.max_abs.max(error);
    }
    let bytes = bytemuck::cast_slice(weights);
    (weight_sums(Weights { kind: F::KIND, bytes }), errors)
}

/// Compares weights with codes.
pub fn compare<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    scheme: &Scheme,
) -> TieMatch {
    let columns = chunk.columns;
    let mut result = TieMatch { weights: weights.len() as u64, ..Default::default() };
    for (i, (weight, code)) in weights.iter().zip(chunk.codes).enumerate() {
        let group = chunk.scales[scheme.scope.index(i / columns, i % columns, columns)];
        if !scheme.matches(weight.to_f32(), *code, group, F::KIND) {
            result.apart += 1;
            result.first = result.first.or(Some(i as u64));
        }
    }
    result
}
