//! MXFP4 and MXFP8: blocks of 32 codes under a power of two.
//!
//! ```text
//! ModelOpt                   exponent = ⌈log₂(amax / largest element)⌉, from −127 on
//! compressed-tensors         exponent = that of amax, one more if its mantissa is at least 1.75,
//!                            less 2 (E2M1) or 8 (E4M3); a block of zeros or subnormals has −127
//! ```
//!
//! compressed-tensors rounds the quotient to the weights' type, which changes no code: by a power of two it
//! is exact, but where it is so small that its code is 0, or so large that it is the largest.
//!
//! ModelOpt rounds E2M1 ties towards zero and writes zero with the sign bit set.

use super::{
    Arithmetic, Element, Extent, GroupScale, Quotient, ScaleSearch, ScaleStore, Scheme, Scope,
    SmallFloatTies,
};
use crate::numeric::{FloatKind, e2m1, e4m3, e8m0};

/// Weights that share a power of two.
pub const BLOCK_LEN: usize = 32;

/// E2M1 codes.
pub fn mxfp4(arithmetic: Arithmetic) -> Scheme {
    match arithmetic {
        Arithmetic::ModelOpt => {
            let element = Element::E2m1(SmallFloatTies::Down);
            scheme(element, |extent, _| modelopt(extent, e2m1::MAX))
        }
        Arithmetic::CompressedTensors | Arithmetic::OnnxRuntime | Arithmetic::TorchAo => {
            let element = Element::E2m1(SmallFloatTies::Even);
            scheme(element, |extent, kind| compressed_tensors(extent, kind, 2))
        }
    }
}

/// E4M3 codes.
pub fn mxfp8(arithmetic: Arithmetic) -> Scheme {
    match arithmetic {
        Arithmetic::ModelOpt => scheme(Element::E4m3, |extent, _| modelopt(extent, e4m3::MAX)),
        Arithmetic::CompressedTensors | Arithmetic::OnnxRuntime | Arithmetic::TorchAo => {
            scheme(Element::E4m3, |extent, kind| compressed_tensors(extent, kind, 8))
        }
    }
}

fn scheme(element: Element, rule: fn(Extent, FloatKind) -> GroupScale) -> Scheme {
    let scope = Scope::Group(BLOCK_LEN);
    Scheme {
        scope,
        element,
        zero_points: false,
        store: ScaleStore::E8m0,
        quotient: Quotient::F32,
        rule,
        search: ScaleSearch::Max,
    }
}

fn modelopt(extent: Extent, largest: f32) -> GroupScale {
    let ratio = extent.amax() / largest;
    // The f32 nearest to the logarithm decides, as it does there.
    let exponent = (f64::from(ratio).log2() as f32).ceil().clamp(-127.0, 127.0);
    GroupScale::symmetric(e8m0::decode((exponent as i32 + e8m0::BIAS) as u8))
}

fn compressed_tensors(extent: Extent, kind: FloatKind, offset: i32) -> GroupScale {
    // A quarter of the mantissa's range more carries into the exponent from 1.75 on.
    let pattern = kind.pattern(extent.amax());
    let mantissa_bits = kind.mantissa_bits();
    let exponent = ((pattern + (1 << (mantissa_bits - 2))) >> mantissa_bits) as i32;
    if exponent == 0 {
        return GroupScale::symmetric(match kind {
            // 2⁻¹²⁷ is zero as an f16, and zero becomes 1.
            FloatKind::F16 => 1.0,
            FloatKind::Bf16 | FloatKind::F32 => e8m0::decode(0),
        });
    }
    let code = (exponent - kind.exponent_bias() + e8m0::BIAS - offset).clamp(0, 254);
    let scale = kind.round(e8m0::decode(code as u8));
    GroupScale::symmetric(if scale == 0.0 { 1.0 } else { scale })
}
