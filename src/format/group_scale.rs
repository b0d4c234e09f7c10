//! Scales of groups, and how they are stored.

use crate::numeric::{FloatKind, e8m0};

/// What the weights of a group are divided by, and what is then added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupScale {
    /// Finite and exact in the type that scales are stored in; above zero, but under
    /// [`Quotient::Reciprocal`](super::Quotient::Reciprocal) of either sign, or zero.
    pub scale: f32,
    /// A whole number that a code can be; 0 in symmetric formats.
    pub zero_point: i8,
}

impl GroupScale {
    /// A scale without a zero point.
    pub const fn symmetric(scale: f32) -> Self {
        Self { scale, zero_point: 0 }
    }
}

/// The type that scales are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleStore {
    /// f32.
    F32,
    /// The type of the weights.
    Own,
    /// A byte `b` for 2^(b − 127).
    E8m0,
}

impl ScaleStore {
    /// Bytes of a scale, for weights of `kind`.
    pub const fn bytes(self, kind: FloatKind) -> usize {
        match self {
            Self::F32 => 4,
            Self::Own => kind.bytes(),
            Self::E8m0 => 1,
        }
    }

    /// The smallest normal number of the type, and the largest.
    pub fn range(self, kind: FloatKind) -> (f32, f32) {
        match (self, kind) {
            (Self::E8m0, _) => (0.0, e8m0::decode(e8m0::NAN_CODE - 1)),
            (Self::Own, kind) => (kind.min_normal(), kind.max()),
            (Self::F32, _) => (FloatKind::F32.min_normal(), FloatKind::F32.max()),
        }
    }

    /// Scales as they are stored, little-endian.
    pub fn encode(self, scales: &[GroupScale], kind: FloatKind) -> Vec<u8> {
        match (self, kind) {
            (Self::E8m0, _) => stored(scales, |scale| [e8m0::encode(scale)]),
            (Self::Own, FloatKind::Bf16 | FloatKind::F16) => {
                stored(scales, |scale| (kind.pattern(scale) as u16).to_le_bytes())
            }
            (Self::Own | Self::F32, _) => stored(scales, f32::to_le_bytes),
        }
    }
}

/// Scales one after the other. Not `flat_map`, which goes byte by byte.
fn stored<const N: usize>(scales: &[GroupScale], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    scales.iter().map(|group| bytes(group.scale)).collect::<Vec<_>>().into_flattened()
}
