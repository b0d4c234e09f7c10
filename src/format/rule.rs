//! Rules that make scales from extents, for many groups at once.

use multiversion::multiversion;

use super::{Extent, GroupScale};
use crate::numeric::FloatKind;

/// Makes the scales of groups from the extents of their weights.
#[derive(Debug, Clone, Copy)]
pub struct ScaleRule {
    /// Fills in scales of groups of weights of a type, as many as there are extents.
    pub(super) of_groups: fn(&[Extent], FloatKind, &mut [GroupScale]),
    /// Whether it is the same for all extents of one amax.
    pub takes_amax: bool,
}

impl ScaleRule {
    /// The scales of groups of weights of type `kind`, as many as there are extents.
    pub fn scales(&self, extents: &[Extent], kind: FloatKind, scales: &mut [GroupScale]) {
        (self.of_groups)(extents, kind, scales);
    }
}

/// Groups whose scales are found at once.
const LANES: usize = 16;

/// A [`ScaleRule`] from a function for a single group: `rule!(amax f)` with an `f(f32, FloatKind) -> GroupScale`, or
/// `rule!(extent f)` with an `f(Extent, FloatKind) -> GroupScale`. It must be `inline(always)`, so that the loop over
/// groups vectorises.
macro_rules! rule {
    (amax $of_amax:path) => {{
        #[inline(always)]
        fn of_group(extent: Extent, kind: FloatKind) -> GroupScale {
            $of_amax(extent.amax(), kind)
        }
        ScaleRule { takes_amax: true, ..rule!(extent of_group) }
    }};
    (extent $of_extent:path) => {
        ScaleRule {
            of_groups: |extents, kind, scales| {
                crate::format::rule::each(extents, kind, scales, $of_extent)
            },
            takes_amax: false,
        }
    };
}
pub(super) use rule;

#[multiversion(targets = "simd")]
pub(super) fn each<R: Fn(Extent, FloatKind) -> GroupScale + Copy>(
    extents: &[Extent],
    kind: FloatKind,
    scales: &mut [GroupScale],
    of_group: R,
) {
    // The choice is made outside of the loop.
    match kind {
        FloatKind::Bf16 => fill(extents, FloatKind::Bf16, scales, of_group),
        FloatKind::F16 => fill(extents, FloatKind::F16, scales, of_group),
        FloatKind::F32 => fill(extents, FloatKind::F32, scales, of_group),
    }
}

#[inline(always)]
fn fill<R: Fn(Extent, FloatKind) -> GroupScale + Copy>(
    extents: &[Extent],
    kind: FloatKind,
    scales: &mut [GroupScale],
    of_group: R,
) {
    let (extents, rest) = extents.as_chunks::<LANES>();
    let (scales, rest_of_scales) = scales.as_chunks_mut::<LANES>();
    for (scales, extents) in scales.iter_mut().zip(extents) {
        *scales = of_lanes(extents, kind, of_group);
    }
    if !rest.is_empty() {
        let mut last = [Extent::of_amax(0.0); LANES];
        last[..rest.len()].copy_from_slice(rest);
        let last = of_lanes(&last, kind, of_group);
        rest_of_scales.copy_from_slice(&last[..rest.len()]);
    }
}

/// Numbers of one sort are side by side in between, as vector registers have them.
#[inline(always)]
fn of_lanes<R: Fn(Extent, FloatKind) -> GroupScale + Copy>(
    extents: &[Extent; LANES],
    kind: FloatKind,
    of_group: R,
) -> [GroupScale; LANES] {
    let ([mut mins, mut maxes, mut scales], mut zero_points) = ([[0.0; LANES]; 3], [0; LANES]);
    for (i, extent) in extents.iter().enumerate() {
        (mins[i], maxes[i]) = (extent.min, extent.max);
    }
    for i in 0..LANES {
        let group = of_group(Extent { min: mins[i], max: maxes[i] }, kind);
        (scales[i], zero_points[i]) = (group.scale, group.zero_point);
    }
    let mut groups = [GroupScale::symmetric(0.0); LANES];
    for (i, group) in groups.iter_mut().enumerate() {
        *group = GroupScale { scale: scales[i], zero_point: zero_points[i] };
    }
    groups
}
