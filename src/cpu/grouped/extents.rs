use bytemuck::Zeroable;
use multiversion::multiversion;

use super::segments::Segments;
use crate::format::{Coder, Extent, GroupScale};
use crate::numeric::SourceFloat;

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

    let mut amax = 0;
    let scale = |(group, keys): (usize, &Keys<F>)| {
        let [min, max] = keys.map(F::from_key);
        amax = amax.max(min.magnitude().into()).max(max.magnitude().into());
        let first = || weights[scope.first(group, columns)].to_f32();
        coder.scale(Extent::new(min.to_f32(), max.to_f32(), first))
    };
    let scales = keys.iter().enumerate().map(scale).collect();
    (scales, amax)
}

#[multiversion(targets = "simd")]
fn add_keys<F: SourceFloat>(weights: &[F], segments: Segments, keys: &mut [Keys<F>]) {
    for (segment, group) in segments {
        let [low, high] = keys_of(&weights[segment]);
        let keys = &mut keys[group];
        *keys = [keys[0].min(low), keys[1].max(high)];
    }
}

#[inline(always)]
fn keys_of<F: SourceFloat>(segment: &[F]) -> Keys<F> {
    let (mut low, mut high) = (F::UNREACHABLE, F::Bits::zeroed());
    for weight in segment {
        let key = weight.key();
        low = low.min(key);
        high = high.max(key);
    }
    [low, high]
}
