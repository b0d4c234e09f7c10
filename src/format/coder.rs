//! A scheme with what it needs of a tensor.

use super::{Extent, GroupScale, Scheme, Scope};
use crate::numeric::FloatKind;

/// A scheme for weights of one type, ready to quantize with.
#[derive(Debug, Clone, Copy)]
pub struct Coder {
    /// The arithmetic.
    pub scheme: Scheme,
    /// The type of the weights.
    pub kind: FloatKind,
    /// The largest magnitude of all weights that share a scale, where a tensor has one.
    pub amax: f32,
    /// The scale of the whole tensor, where all weights share one.
    pub tensor_scale: Option<GroupScale>,
}

impl Coder {
    /// For weights of `kind` of a tensor whose largest magnitude is `amax`, which only counts where
    /// all weights share a scale.
    pub fn new(scheme: Scheme, kind: FloatKind, amax: f32) -> Self {
        let of_tensor = scheme.scope == Scope::Tensor;
        let tensor_scale = of_tensor.then(|| scheme.scale(Extent::of_amax(amax), kind));
        Self { scheme, kind, amax, tensor_scale }
    }

    /// The scale of a group.
    pub fn scale(&self, extent: Extent) -> GroupScale {
        self.tensor_scale.unwrap_or_else(|| self.scheme.scale(extent, self.kind))
    }

    /// The scales of groups with such extents.
    pub fn scales(&self, extents: &[Extent], scales: &mut [GroupScale]) {
        match self.tensor_scale {
            Some(scale) => scales.fill(scale),
            None => self.scheme.rule.scales(extents, self.kind, scales),
        }
    }
}
