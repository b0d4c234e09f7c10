use multiversion::multiversion;

use super::segments::Segments;
use crate::format::k_quant::Group;
use crate::format::{Element, GroupScale, Quotient, Scheme, Scope};
use crate::numeric::SourceFloat;

/// Puts better scales in the place of those of the plain rule.
#[multiversion(targets = "simd")]
pub fn improve<F: SourceFloat>(
    weights: &[F],
    segments: Segments,
    scheme: &Scheme,
    scales: &mut [GroupScale],
) {
    let (Scope::Group(len), Element::Int(bits)) = (scheme.scope, scheme.element) else { return };
    // What the only formats with this search have, so that the loops vectorise.
    let (element, quotient, zero_points) = (Element::Int(bits), Quotient::Reciprocal, true);
    let scheme = Scheme { element, quotient, zero_points, ..*scheme };
    let mut group = Group::default();
    for (segment, scale) in segments {
        group.fill(weights[segment].iter().map(|weight| weight.to_f32()), len);
        scales[scale] = group.best(scales[scale], &scheme, F::KIND);
    }
}
