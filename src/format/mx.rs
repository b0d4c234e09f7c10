//! MXFP4 and MXFP8: blocks of 32 codes under a power of two.
//!
//! ```text
//! ModelOpt                   exponent = ⌈log₂(amax / largest element)⌉, from −127 on
//! compressed-tensors         exponent = that of amax, one more if its mantissa is at least 1.75,
//!                            less 2 (E2M1) or 8 (E4M3); a block of zeros or subnormals has −127;
//!                            the quotient is rounded to the weights' type
//! ```
//!
//! ModelOpt rounds E2M1 ties towards zero and writes zero with the sign bit set.

use super::rule::rule;
use super::{
    Arithmetic, Element, Extent, GroupScale, Quotient, ScaleRule, ScaleSearch, ScaleStore, Scheme,
    Scope, SmallFloatTies,
};
use crate::numeric::{FloatKind, e2m1, e4m3, e8m0};

/// Weights that share a power of two.
pub const BLOCK_LEN: usize = 32;

/// E2M1 codes.
pub fn mxfp4(arithmetic: Arithmetic) -> Scheme {
    match arithmetic {
        Arithmetic::ModelOpt => {
            let element = Element::E2m1(SmallFloatTies::Down);
            scheme(element, Quotient::F32, rule!(amax modelopt_e2m1))
        }
        Arithmetic::CompressedTensors | Arithmetic::OnnxRuntime | Arithmetic::TorchAo => {
            let element = Element::E2m1(SmallFloatTies::Even);
            scheme(element, Quotient::Own, rule!(amax compressed_tensors::<2>))
        }
    }
}

/// E4M3 codes.
pub fn mxfp8(arithmetic: Arithmetic) -> Scheme {
    match arithmetic {
        Arithmetic::ModelOpt => scheme(Element::E4m3, Quotient::F32, rule!(amax modelopt_e4m3)),
        Arithmetic::CompressedTensors | Arithmetic::OnnxRuntime | Arithmetic::TorchAo => {
            scheme(Element::E4m3, Quotient::Own, rule!(amax compressed_tensors::<8>))
        }
    }
}

fn scheme(element: Element, quotient: Quotient, rule: ScaleRule) -> Scheme {
    let scope = Scope::Group(BLOCK_LEN);
    Scheme {
        scope,
        element,
        zero_points: false,
        store: ScaleStore::E8m0,
        quotient,
        rule,
        search: ScaleSearch::Max,
    }
}

#[inline(always)]
fn modelopt_e2m1(amax: f32, _: FloatKind) -> GroupScale {
    modelopt(amax / e2m1::MAX)
}

#[inline(always)]
fn modelopt_e4m3(amax: f32, _: FloatKind) -> GroupScale {
    modelopt(amax / e4m3::MAX)
}

/// `ratio` is that of the amax to the largest element.
#[inline(always)]
fn modelopt(ratio: f32) -> GroupScale {
    // The f32 nearest to the logarithm decides, as it does there.
    let exponent = (f64::from(ratio).log2() as f32).ceil().clamp(-127.0, 127.0);
    GroupScale::symmetric(e8m0::decode((exponent as i32 + e8m0::BIAS) as u8))
}

#[inline(always)]
fn compressed_tensors<const OFFSET: i32>(amax: f32, kind: FloatKind) -> GroupScale {
    // A quarter of the mantissa's range more carries into the exponent from 1.75 on.
    let pattern = kind.pattern(amax);
    let mantissa_bits = kind.mantissa_bits();
    let exponent = ((pattern + (1 << (mantissa_bits - 2))) >> mantissa_bits) as i32;
    if exponent == 0 {
        return GroupScale::symmetric(match kind {
            // 2⁻¹²⁷ is zero as an f16, and zero becomes 1.
            FloatKind::F16 => 1.0,
            FloatKind::Bf16 | FloatKind::F32 => e8m0::decode(0),
        });
    }
    let code = (exponent - kind.exponent_bias() + e8m0::BIAS - OFFSET).clamp(0, 254);
    let scale = kind.round(e8m0::decode(code as u8));
    GroupScale::symmetric(if scale == 0.0 { 1.0 } else { scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes that compressed-tensors 0.20 gave with PyTorch: a quotient that is zero only in the weights' type
    /// has no sign.
    #[test]
    fn quotients_are_rounded_to_the_type_of_weights() {
        let scheme = mxfp4(Arithmetic::CompressedTensors);
        let kinds =
            [(FloatKind::F16, 0x4AFF), (FloatKind::Bf16, 0x415F), (FloatKind::F32, 0x415F_0000)];
        for (kind, amax) in kinds {
            let sign = if kind == FloatKind::F32 { 1 << 31 } else { 1 << 15 };
            let group = scheme.scale(Extent::of_amax(kind.widen(amax)), kind);
            assert_eq!(group.scale, 2.0);
            let code = |pattern| scheme.encode(kind.widen(pattern), group, kind);
            assert_eq!([code(amax), code(sign | 1), code(1)], [7, 0, 0], "{kind:?}");
        }
    }
}
