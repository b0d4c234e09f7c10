use bytemuck::Zeroable;
use multiversion::multiversion;

use super::amaxes;
use super::segments::Segments;
use crate::format::{Coder, Extent, GroupScale};
use crate::numeric::SourceFloat;

/// Weights that are looked at at once: as many of 16 bits as a vector register holds.
pub(super) const LANES: usize = 32;

/// Groups that are looked at at once.
pub(super) const TOGETHER: usize = 64;

/// The smallest and the largest key of the weights of each group.
struct Keys<F: SourceFloat> {
    lows: Vec<F::Bits>,
    highs: Vec<F::Bits>,
}

/// The scales of all groups, and the largest magnitude. Twin of `shaders/grouped_extents.wgsl`.
pub fn scales<F: SourceFloat>(
    weights: &[F],
    columns: usize,
    coder: &Coder,
) -> (Vec<GroupScale>, u32) {
    let scope = coder.scheme.scope;
    let groups = scope.count(weights.len() / columns.max(1), columns);
    let segments = Segments::new(scope, weights.len(), columns);
    let mut scales = vec![GroupScale::symmetric(0.0); groups];
    if coder.scheme.rule.takes_amax {
        let amax = amaxes::scales(weights, segments, coder, &mut scales);
        return (scales, amax);
    }
    let mut keys =
        Keys::<F> { lows: vec![F::UNREACHABLE; groups], highs: vec![F::Bits::zeroed(); groups] };
    add_keys(weights, segments, &mut keys);
    let mut extents = [Extent::of_amax(0.0); TOGETHER];
    let mut amax = 0;
    let keys = keys.lows.chunks(TOGETHER).zip(keys.highs.chunks(TOGETHER));
    for (number, ((lows, highs), scales)) in keys.zip(scales.chunks_mut(TOGETHER)).enumerate() {
        let extents = &mut extents[..scales.len()];
        let (own_amax, some_are_zeros) = extents_of::<F>(lows, highs, extents);
        if some_are_zeros {
            for (i, extent) in extents.iter_mut().enumerate() {
                let [min, max] = [lows[i], highs[i]].map(|key| F::from_key(key).to_f32());
                let first = || weights[scope.first(number * TOGETHER + i, columns)].to_f32();
                *extent = Extent::new(min, max, first);
            }
        }
        amax = amax.max(own_amax);
        coder.scales(extents, scales);
    }
    (scales, amax)
}

/// Writes the extents that keys say. Gives the largest magnitude of all, and whether some group may have zeros
/// of both signs, and then another extent.
#[multiversion(targets = "simd")]
fn extents_of<F: SourceFloat>(
    lows: &[F::Bits],
    highs: &[F::Bits],
    extents: &mut [Extent],
) -> (u32, bool) {
    let (mut amax, mut zeros) = (0u32, 0u32);
    for ((extent, low), high) in extents.iter_mut().zip(lows).zip(highs) {
        let (low, high) = (F::from_key(*low), F::from_key(*high));
        *extent = Extent::of_ends(low.to_f32(), high.to_f32());
        let [low, high]: [u32; 2] = [low.magnitude().into(), high.magnitude().into()];
        amax = amax.max(low.max(high));
        zeros |= u32::from(low | high == 0);
    }
    (amax, zeros > 0)
}

/// Adds weights to the keys of their groups.
#[multiversion(targets = "simd")]
fn add_keys<F: SourceFloat>(weights: &[F], segments: Segments, keys: &mut Keys<F>) {
    if let Some(len) = segments.even_len() {
        let keys = keys.lows.iter_mut().zip(&mut keys.highs);
        for ((low, high), weights) in keys.zip(weights.chunks_exact(len)) {
            [*low, *high] = keys_of(weights);
        }
        return;
    }
    for (segment, group) in segments {
        let own = keys_of(&weights[segment]);
        [keys.lows[group], keys.highs[group]] =
            merged::<F>([keys.lows[group], keys.highs[group]], own);
    }
}

#[inline(always)]
fn merged<F: SourceFloat>(a: [F::Bits; 2], b: [F::Bits; 2]) -> [F::Bits; 2] {
    [a[0].min(b[0]), a[1].max(b[1])]
}

/// The smallest and the largest key of some weights.
#[inline(always)]
fn keys_of<F: SourceFloat>(segment: &[F]) -> [F::Bits; 2] {
    let (chunks, rest) = segment.as_chunks::<LANES>();
    let (mut lows, mut highs) = ([F::UNREACHABLE; LANES], [F::Bits::zeroed(); LANES]);
    for chunk in chunks {
        for i in 0..LANES {
            let key = chunk[i].key();
            (lows[i], highs[i]) = (lows[i].min(key), highs[i].max(key));
        }
    }
    let mut of_all = [F::UNREACHABLE, F::Bits::zeroed()];
    for i in 0..LANES {
        of_all = merged::<F>(of_all, [lows[i], highs[i]]);
    }
    for weight in rest {
        of_all = merged::<F>(of_all, [weight.key(); 2]);
    }
    of_all
}
