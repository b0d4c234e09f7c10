use bytemuck::Zeroable;
use multiversion::multiversion;

use super::segments::Segments;
use crate::format::{Coder, Extent, GroupScale};
use crate::numeric::SourceFloat;

/// Weights that are looked at at once: as many of 16 bits as a vector register holds.
const LANES: usize = 32;

/// The smallest and the largest key of some weights.
type Keys<F> = [<F as SourceFloat>::Bits; 2];

/// The scales of all groups, and the largest magnitude. Twin of `shaders/grouped_extents.wgsl`.
pub fn scales<F: SourceFloat>(
    weights: &[F],
    columns: usize,
    coder: &Coder,
) -> (Vec<GroupScale>, u32) {
    let scope = coder.scheme.scope;
    let groups = scope.count(weights.len() / columns.max(1), columns);
    let mut keys = vec![[F::UNREACHABLE, F::Bits::zeroed()]; groups];
    add_keys(weights, Segments::new(scope, weights.len(), columns), &mut keys);

    let scale = |(group, keys): (usize, &Keys<F>)| {
        let [min, max] = keys.map(|key| F::from_key(key).to_f32());
        let first = || weights[scope.first(group, columns)].to_f32();
        coder.scale(Extent::new(min, max, first))
    };
    let scales = keys.iter().enumerate().map(scale).collect();
    let [low, high] = keys.into_iter().fold([F::UNREACHABLE, F::Bits::zeroed()], merged::<F>);
    let ends = [low, high].map(|key| F::from_key(key).magnitude().into());
    (scales, if groups == 0 { 0 } else { ends[0].max(ends[1]) })
}

#[multiversion(targets = "simd")]
fn add_keys<F: SourceFloat>(weights: &[F], segments: Segments, keys: &mut [Keys<F>]) {
    if let Some(len) = segments.even_len() {
        let segments = weights.chunks_exact(len);
        keys.iter_mut().zip(segments).for_each(|(keys, segment)| *keys = keys_of(segment));
        return;
    }
    for (segment, group) in segments {
        keys[group] = merged::<F>(keys[group], keys_of(&weights[segment]));
    }
}

#[inline(always)]
fn merged<F: SourceFloat>(a: Keys<F>, b: Keys<F>) -> Keys<F> {
    [a[0].min(b[0]), a[1].max(b[1])]
}

#[inline(always)]
fn keys_of<F: SourceFloat>(segment: &[F]) -> Keys<F> {
    let (chunks, rest) = segment.as_chunks::<LANES>();
    let mut total = keys_of_few(rest);
    for chunk in chunks {
        // Of a length that the compiler knows.
        total = merged::<F>(total, keys_of_few(chunk));
    }
    total
}

#[inline(always)]
fn keys_of_few<F: SourceFloat>(weights: &[F]) -> Keys<F> {
    let (mut low, mut high) = (F::UNREACHABLE, F::Bits::zeroed());
    for weight in weights {
        let key = weight.key();
        low = low.min(key);
        high = high.max(key);
    }
    [low, high]
}
