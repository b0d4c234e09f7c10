//! Whole numbers as the block-wise quantizer of MLAS has them, in ONNX Runtime 1.32: what its
//! `MatMulNBits` and `GatherBlockQuantized` nodes hold.
//!
//! All is f32 without fused products, `round` takes ties away from zero, and T is the type of the
//! weights. MLAS has f32 and f16; bf16 follows the same rule. With `min` and `max` of a block, and of
//! its codes `largest` = 2^bits − 1 and `half` = 2^(bits − 1):
//!
//! ```text
//! symmetric    end = max if |max| > |min|, else min
//!              scale = T(−end / half)
//!              zero point = half
//! with zero    step = (max(max, 0) − min(min, 0)) / largest
//!   points     scale = T(step)
//!              zero point = round(0 − min(min, 0) / step), within 0 to largest; 0 if step is 0
//! code         = round(weight · (1 / scale) + zero point), within 0 to largest; 1 / 0 is 0
//! ```
//!
//! A symmetric scale has a sign: the end of the larger magnitude always gets the code 0, and the other
//! one is clipped. Codes and zero points are unsigned here and in files; everywhere else in this
//! crate they are `half` less.
//!
//! Where `max − min` is beyond f32, MLAS has infinite scales and loses all weights. Here each of them
//! is divided for itself, then.

use super::{Extent, GroupScale};
use crate::numeric::FloatKind;

fn symmetric(extent: Extent, kind: FloatKind, half: f32) -> GroupScale {
    let end = if extent.max > extent.min.abs() { extent.max } else { extent.min };
    GroupScale::symmetric(kind.round(-end / half))
}

fn asymmetric(extent: Extent, kind: FloatKind, bits: u8) -> GroupScale {
    let largest = ((1u32 << bits) - 1) as f32;
    let range = extent.max - extent.min;
    let step = if range.is_finite() {
        range / largest
    } else {
        extent.max / largest - extent.min / largest
    };
    let zero_point = if step == 0.0 { 0.0 } else { 0.0 - extent.min / step };
    let unsigned = zero_point.round().clamp(0.0, largest) as i32;
    let zero_point = (unsigned - (1 << (bits - 1))) as i8;
    GroupScale { scale: kind.round(step), zero_point }
}

/// Signed scales of 4 bits.
pub fn symmetric_4(extent: Extent, kind: FloatKind) -> GroupScale {
    symmetric(extent, kind, 8.0)
}

/// Signed scales of 8 bits.
pub fn symmetric_8(extent: Extent, kind: FloatKind) -> GroupScale {
    symmetric(extent, kind, 128.0)
}

/// Scales and zero points of 4 bits.
pub fn asymmetric_4(extent: Extent, kind: FloatKind) -> GroupScale {
    asymmetric(extent, kind, 4)
}

/// Scales and zero points of 8 bits.
pub fn asymmetric_8(extent: Extent, kind: FloatKind) -> GroupScale {
    asymmetric(extent, kind, 8)
}
