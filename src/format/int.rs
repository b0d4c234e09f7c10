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
use super::torchao;
use super::{
    Arithmetic, Element, Extent, GroupScale, Quotient, ScaleSearch, ScaleStore, Scheme, Scope,
};
use crate::numeric::FloatKind;

/// Whole numbers of `bits` (4 or 8; compressed-tensors: 2 to 8). ModelOpt's are always symmetric.
pub fn scheme(bits: u8, scope: Scope, symmetric: bool, arithmetic: Arithmetic) -> Scheme {
    let (store, zero_points, rule): (_, _, fn(Extent, FloatKind) -> GroupScale) =
        match (arithmetic, symmetric, bits, scope) {
            // ModelOpt widens the amax of groups to f32 first, that of rows not.
            (Arithmetic::ModelOpt, .., Scope::Group(_)) => {
                (ScaleStore::F32, false, if bits == 4 { modelopt_4_f32 } else { modelopt_8_f32 })
            }
            (Arithmetic::ModelOpt, ..) => {
                (ScaleStore::F32, false, if bits == 4 { modelopt_4 } else { modelopt_8 })
            }
            (Arithmetic::CompressedTensors, true, 3, _) => (ScaleStore::Own, false, symmetric_3),
            (Arithmetic::CompressedTensors, true, 4, _) => (ScaleStore::Own, false, symmetric_4),
            (Arithmetic::CompressedTensors, true, ..) => (ScaleStore::Own, false, symmetric_8),
            (Arithmetic::CompressedTensors, false, 4, _) => (ScaleStore::Own, true, asymmetric_4),
            (Arithmetic::CompressedTensors, false, ..) => (ScaleStore::Own, true, asymmetric_8),
            (Arithmetic::OnnxRuntime, true, 4, _) => (ScaleStore::Own, false, onnx::symmetric_4),
            (Arithmetic::OnnxRuntime, true, ..) => (ScaleStore::Own, false, onnx::symmetric_8),
            (Arithmetic::OnnxRuntime, false, 4, _) => (ScaleStore::Own, true, onnx::asymmetric_4),
            (Arithmetic::OnnxRuntime, false, ..) => (ScaleStore::Own, true, onnx::asymmetric_8),
            (Arithmetic::TorchAo, true, 4, _) => (ScaleStore::Own, false, torchao::symmetric::<4>),
            (Arithmetic::TorchAo, true, ..) => (ScaleStore::Own, false, torchao::symmetric::<8>),
            (Arithmetic::TorchAo, false, 4, _) => (ScaleStore::Own, true, torchao::asymmetric::<4>),
            (Arithmetic::TorchAo, false, ..) => (ScaleStore::Own, true, torchao::asymmetric::<8>),
        };
    let quotient = match arithmetic {
        Arithmetic::ModelOpt | Arithmetic::CompressedTensors => Quotient::F32,
        Arithmetic::OnnxRuntime => Quotient::Reciprocal,
        Arithmetic::TorchAo => Quotient::ProductOwn,
    };
    let element = Element::Int(bits);
    Scheme { scope, element, zero_points, store, quotient, rule, search: ScaleSearch::Max }
}

fn modelopt_scale(extent: Extent, smallest: f32, largest_code: f32) -> GroupScale {
    let amax = if extent.amax() == 0.0 { largest_code } else { extent.amax() };
    GroupScale::symmetric(amax.max(smallest) / largest_code)
}

fn modelopt_4(extent: Extent, kind: FloatKind) -> GroupScale {
    modelopt_scale(extent, kind.min_normal(), 7.0)
}

fn modelopt_8(extent: Extent, kind: FloatKind) -> GroupScale {
    modelopt_scale(extent, kind.min_normal(), 127.0)
}

fn modelopt_4_f32(extent: Extent, _: FloatKind) -> GroupScale {
    modelopt_scale(extent, FloatKind::F32.min_normal(), 7.0)
}

fn modelopt_8_f32(extent: Extent, _: FloatKind) -> GroupScale {
    modelopt_scale(extent, FloatKind::F32.min_normal(), 127.0)
}

fn or_epsilon(scale: f32, kind: FloatKind) -> f32 {
    if scale == 0.0 { kind.epsilon() } else { scale }
}

fn symmetric(extent: Extent, kind: FloatKind, half_range: f32) -> GroupScale {
    GroupScale::symmetric(or_epsilon(kind.round(extent.amax() / half_range), kind))
}

fn symmetric_3(extent: Extent, kind: FloatKind) -> GroupScale {
    symmetric(extent, kind, 3.5)
}

fn symmetric_4(extent: Extent, kind: FloatKind) -> GroupScale {
    symmetric(extent, kind, 7.5)
}

fn symmetric_8(extent: Extent, kind: FloatKind) -> GroupScale {
    symmetric(extent, kind, 127.5)
}

fn asymmetric(extent: Extent, kind: FloatKind, bits: u8) -> GroupScale {
    let steps = ((1u32 << bits) - 1) as f32;
    let smallest = -((1i32 << (bits - 1)) as f32);
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

fn asymmetric_4(extent: Extent, kind: FloatKind) -> GroupScale {
    asymmetric(extent, kind, 4)
}

fn asymmetric_8(extent: Extent, kind: FloatKind) -> GroupScale {
    asymmetric(extent, kind, 8)
}
