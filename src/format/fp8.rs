//! FP8: E4M3 codes under a scale for the tensor, for each row, or for each 128×128 tile.
//!
//! ```text
//! ModelOpt, tensor           scale = amax / 448; the quotient is rounded to the weights' type first
//! ModelOpt, row and tile     scale = max(amax, smallest normal number of the weights' type) / 448
//! compressed-tensors         scale = amax / 448 rounded to the weights' type; 0 becomes its epsilon
//! ```
//!
//! Where ModelOpt would divide zero by zero (a tensor of zeros), the scale is 1.

use super::rule::rule;
use super::{
    Arithmetic, Element, Extent, GroupScale, Quotient, ScaleRule, ScaleSearch, ScaleStore, Scheme,
    Scope,
};
use crate::numeric::{FloatKind, e4m3};

/// Rows and columns of a tile.
pub const TILE_LEN: usize = 128;

/// FP8 with scales of a scope.
pub fn scheme(scope: Scope, arithmetic: Arithmetic) -> Scheme {
    let (store, quotient, rule): (_, _, ScaleRule) = match (arithmetic, scope) {
        (Arithmetic::ModelOpt, Scope::Tensor) => {
            (ScaleStore::F32, Quotient::Own, rule!(amax modelopt_tensor))
        }
        (Arithmetic::ModelOpt, _) => (ScaleStore::F32, Quotient::F32, rule!(amax modelopt)),
        (Arithmetic::CompressedTensors | Arithmetic::OnnxRuntime | Arithmetic::TorchAo, _) => {
            (ScaleStore::Own, Quotient::F32, rule!(amax compressed_tensors))
        }
    };
    Scheme {
        scope,
        element: Element::E4m3,
        zero_points: false,
        store,
        quotient,
        rule,
        search: ScaleSearch::Max,
    }
}

#[inline(always)]
fn modelopt_tensor(amax: f32, _: FloatKind) -> GroupScale {
    let scale = amax / e4m3::MAX;
    GroupScale::symmetric(if scale == 0.0 { 1.0 } else { scale })
}

#[inline(always)]
fn modelopt(amax: f32, kind: FloatKind) -> GroupScale {
    let amax = if amax == 0.0 { e4m3::MAX } else { amax };
    GroupScale::symmetric(amax.max(kind.min_normal()) / e4m3::MAX)
}

#[inline(always)]
fn compressed_tensors(amax: f32, kind: FloatKind) -> GroupScale {
    let scale = kind.round(amax / e4m3::MAX);
    GroupScale::symmetric(if scale == 0.0 { kind.epsilon() } else { scale })
}
