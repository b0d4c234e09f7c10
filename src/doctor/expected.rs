//! What the specification makes of weights, one after the other.

use crate::format::nvfp4::{self, BLOCK_BYTES, Scaling};
use crate::format::{Coder, Extent, GroupScale};

use super::sample::COLUMNS;

/// Codes, scales and values of NVFP4, as they are stored.
pub fn nvfp4(weights: &[f32], scaling: &Scaling) -> (Vec<u8>, Vec<u8>, Vec<f32>) {
    let (mut codes, mut scales, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for block in weights.as_chunks().0 {
        let (scale, packed) = nvfp4::quantize_block(block, scaling);
        let packed: [u8; BLOCK_BYTES] = packed;
        codes.extend(packed);
        scales.push(scale);
        values.extend(nvfp4::dequantize_block(&packed, scaling.step(scale)));
    }
    (codes, scales, values)
}

/// Codes, scales and values under one level of scales; a code a byte.
pub fn grouped(weights: &[f32], coder: &Coder) -> (Vec<u8>, Vec<GroupScale>, Vec<f32>) {
    let scheme = &coder.scheme;
    let group = |i: usize| scheme.scope.index(i / COLUMNS, i % COLUMNS, COLUMNS);
    let mut extents = vec![None; scheme.scope.count(weights.len() / COLUMNS, COLUMNS)];
    for (i, &weight) in weights.iter().enumerate() {
        // Of equal weights the first counts, be they zeros of other signs.
        let (min, max, _) = extents[group(i)].get_or_insert((weight, weight, weight));
        *min = if weight < *min { weight } else { *min };
        *max = if weight > *max { weight } else { *max };
    }
    let scale = |extent: Option<(f32, f32, f32)>| {
        let (min, max, first) = extent.unwrap_or_default();
        coder.scale(Extent::new(min, max, || first))
    };
    let scales: Vec<GroupScale> = extents.into_iter().map(scale).collect();
    let code = |(i, weight): (usize, &f32)| scheme.encode(*weight, scales[group(i)], coder.kind);
    let codes: Vec<u8> = weights.iter().enumerate().map(code).collect();
    let value = |(i, code): (usize, &u8)| scheme.decode(*code, scales[group(i)]);
    let values = codes.iter().enumerate().map(value).collect();
    (codes, scales, values)
}
