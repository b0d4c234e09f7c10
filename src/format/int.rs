//! Whole numbers under a scale for each row, or for each group of a row.
//!
//! ```text
//! ModelOpt                   scale = max(amax, smallest normal number) / largest code
//! compressed-tensors         scale = amax / (largest code + ½), rounded to the weights' type
//! compressed-tensors, with   scale = (max − min) / (number of codes − 1), both rounded so
//!   zero points              zero point = smallest code − min / scale, rounded to the type, then
//!                            to a whole number, ties to even
//! ```
//!
//! In compressed-tensors a scale of 0 becomes the epsilon of the weights' type, after the zero
//! point is taken. ONNX Runtime's rules are in [`super::onnx_runtime`], torchao's in
//! [`super::torchao`].

use super::onnx_runtime as onnx;
use super::rule::rule;
use super::torchao;
use super::{
    Arithmetic, Element, Extent, GroupScale, Quotient, ScaleRule, ScaleSearch, ScaleStore, Scheme,
    Scope,
};
use crate::numeric::FloatKind;

/// Whole numbers of `bits` (4 or 8; compressed-tensors: 2 to 8). ModelOpt's are always symmetric.
pub fn scheme(bits: u8, scope: Scope, symmetric: bool, arithmetic: Arithmetic) -> Scheme {
    let rule = match (arithmetic, symmetric, bits, scope) {
        // ModelOpt widens the amax of groups to f32 first, that of rows not.
        (Arithmetic::ModelOpt, _, 4, Scope::Group(_)) => rule!(amax modelopt_f32::<4>),
        (Arithmetic::ModelOpt, _, _, Scope::Group(_)) => rule!(amax modelopt_f32::<8>),
        (Arithmetic::ModelOpt, _, 4, _) => rule!(amax modelopt::<4>),
        (Arithmetic::ModelOpt, ..) => rule!(amax modelopt::<8>),
        (Arithmetic::CompressedTensors, true, 3, _) => rule!(amax of_amax::<3>),
        (Arithmetic::CompressedTensors, true, 4, _) => rule!(amax of_amax::<4>),
        (Arithmetic::CompressedTensors, true, ..) => rule!(amax of_amax::<8>),
        (Arithmetic::CompressedTensors, false, 4, _) => rule!(extent of_range::<4>),
        (Arithmetic::CompressedTensors, false, ..) => rule!(extent of_range::<8>),
        (Arithmetic::OnnxRuntime, true, 4, _) => rule!(extent onnx::symmetric::<4>),
        (Arithmetic::OnnxRuntime, true, ..) => rule!(extent onnx::symmetric::<8>),
        (Arithmetic::OnnxRuntime, false, 4, _) => rule!(extent onnx::asymmetric::<4>),
        (Arithmetic::OnnxRuntime, false, ..) => rule!(extent onnx::asymmetric::<8>),
        (Arithmetic::TorchAo, true, 4, _) => rule!(amax torchao::symmetric::<4>),
        (Arithmetic::TorchAo, true, ..) => rule!(amax torchao::symmetric::<8>),
        (Arithmetic::TorchAo, false, 4, _) => rule!(extent torchao::asymmetric::<4>),
        (Arithmetic::TorchAo, false, ..) => rule!(extent torchao::asymmetric::<8>),
    };
    let (store, quotient) = match arithmetic {
        Arithmetic::ModelOpt => (ScaleStore::F32, Quotient::F32),
        Arithmetic::CompressedTensors => (ScaleStore::Own, Quotient::F32),
        Arithmetic::OnnxRuntime => (ScaleStore::Own, Quotient::Reciprocal),
        Arithmetic::TorchAo => (ScaleStore::Own, Quotient::ProductOwn),
    };
    let zero_points = !symmetric && arithmetic != Arithmetic::ModelOpt;
    let element = Element::Int(bits);
    Scheme { scope, element, zero_points, store, quotient, rule, search: ScaleSearch::Max }
}

#[inline(always)]
fn modelopt<const BITS: u32>(amax: f32, kind: FloatKind) -> GroupScale {
    let largest_code = ((1u32 << (BITS - 1)) - 1) as f32;
    let amax = if amax == 0.0 { largest_code } else { amax };
    GroupScale::symmetric(amax.max(kind.min_normal()) / largest_code)
}

#[inline(always)]
fn modelopt_f32<const BITS: u32>(amax: f32, _: FloatKind) -> GroupScale {
    modelopt::<BITS>(amax, FloatKind::F32)
}

#[inline(always)]
fn or_epsilon(scale: f32, kind: FloatKind) -> f32 {
    if scale == 0.0 { kind.epsilon() } else { scale }
}

#[inline(always)]
fn of_amax<const BITS: u32>(amax: f32, kind: FloatKind) -> GroupScale {
    let half_range = ((1u32 << BITS) - 1) as f32 / 2.0;
    GroupScale::symmetric(or_epsilon(kind.round(amax / half_range), kind))
}

#[inline(always)]
fn of_range<const BITS: u32>(extent: Extent, kind: FloatKind) -> GroupScale {
    let steps = ((1u32 << BITS) - 1) as f32;
    let smallest = -((1u32 << (BITS - 1)) as f32);
    let range = kind.round(extent.max - extent.min);
    // The library's scale is infinite where the range is, and all weights are lost.
    let scale =
        if range.is_finite() { range / steps } else { extent.max / steps - extent.min / steps };
    let scale = kind.round(scale);
    let zero_point = kind.round(smallest - kind.round(extent.min / scale));
    // 0 / 0, in a group of zeros, is no number; its zero point is 0.
    let zero_point = zero_point.clamp(smallest, -smallest - 1.0).round_ties_even() as i8;
    GroupScale { scale: or_epsilon(scale, kind), zero_point }
}
