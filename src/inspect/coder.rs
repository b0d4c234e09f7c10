//! Encoding a few weights as the kernels do, under the scale of their block or another.

use super::{BlockScale, Codec};
use crate::format::nvfp4::{self, Rule, Scaling};
use crate::format::{Extent, GroupScale, Scheme, Scope};
use crate::numeric::FloatKind;
use crate::quantized::Chunk;

/// What the weights of a block are encoded with: the specification itself.
#[derive(Debug, Clone, Copy)]
pub enum BlockCoder {
    /// NVFP4, under the scales of a tensor.
    Nvfp4(Scaling),
    /// One level of scales.
    Grouped {
        /// The arithmetic.
        scheme: Scheme,
        /// The float type of the weights.
        kind: FloatKind,
        /// The scale of all weights, where they share one.
        of_tensor: Option<GroupScale>,
    },
}

impl BlockCoder {
    /// That of rows of a matrix.
    pub fn of(chunk: &Chunk) -> Self {
        match chunk {
            Chunk::Nvfp4 { scaling, .. } => Self::Nvfp4(*scaling),
            Chunk::Grouped { scheme, kind, scales, .. } => {
                let of_tensor = scales.first().filter(|_| scheme.scope == Scope::Tensor).copied();
                Self::Grouped { scheme: *scheme, kind: *kind, of_tensor }
            }
        }
    }

    /// The type of its codes.
    pub const fn codec(&self) -> Codec {
        match self {
            Self::Nvfp4(_) => Codec::E2m1,
            Self::Grouped { scheme, .. } => Codec::of_element(scheme.element),
        }
    }

    /// The scale that the rule gives some weights that share one, without any search.
    pub fn scale_of(&self, weights: &[f32]) -> BlockScale {
        match self {
            Self::Nvfp4(scaling) => {
                let amax = weights.iter().fold(0f32, |amax, weight| amax.max(weight.abs()));
                Self::nvfp4_scale(scaling, scaling.block_scale(amax))
            }
            Self::Grouped { scheme, kind, of_tensor } => {
                let min = weights.iter().copied().fold(f32::INFINITY, f32::min);
                let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let first = weights.first().copied().unwrap_or(0.0);
                let extent = Extent::new(min, max, || first);
                let group = of_tensor.unwrap_or_else(|| scheme.scale(extent, *kind));
                Self::grouped_scale(scheme, *kind, group)
            }
        }
    }

    /// The scale that is stored as `code`, with the zero point of another.
    pub fn scale_at(&self, code: u32, zero_point: Option<i8>) -> BlockScale {
        match self {
            Self::Nvfp4(scaling) => Self::nvfp4_scale(scaling, code as u8),
            Self::Grouped { scheme, kind, .. } => {
                let scale = Codec::of_store(scheme.store, *kind).value(code);
                let group = GroupScale { scale, zero_point: zero_point.unwrap_or(0) };
                Self::grouped_scale(scheme, *kind, group)
            }
        }
    }

    /// An NVFP4 block scale under the global scale of a tensor.
    pub(super) fn nvfp4_scale(scaling: &Scaling, code: u8) -> BlockScale {
        let value = Codec::E4m3.value(code.into());
        BlockScale {
            codec: Codec::E4m3,
            code: code.into(),
            value,
            global: Some((scaling.global_scale, scaling.rule == Rule::CompressedTensors)),
            zero_point: None,
            step: scaling.step(code),
        }
    }

    /// The scale of a group of weights of `kind`.
    pub(super) fn grouped_scale(scheme: &Scheme, kind: FloatKind, group: GroupScale) -> BlockScale {
        let codec = Codec::of_store(scheme.store, kind);
        BlockScale {
            codec,
            code: codec.encode(group.scale),
            value: group.scale,
            global: None,
            zero_point: scheme.zero_points.then_some(group.zero_point),
            step: group.scale,
        }
    }

    fn group(scale: &BlockScale) -> GroupScale {
        GroupScale { scale: scale.value, zero_point: scale.zero_point.unwrap_or(0) }
    }

    /// The code of a weight under a scale, as many bits as the type has.
    pub fn encode(&self, weight: f32, scale: &BlockScale) -> u32 {
        match self {
            Self::Nvfp4(_) => nvfp4::encode(weight, scale.step).into(),
            Self::Grouped { scheme, kind, .. } => {
                let code = scheme.encode(weight, Self::group(scale), *kind);
                u32::from(code) & ((1u32 << scheme.element.bits()) - 1)
            }
        }
    }

    /// What a code stands for under a scale.
    pub fn decode(&self, code: u32, scale: &BlockScale) -> f32 {
        match self {
            Self::Nvfp4(_) => nvfp4::decode(code as u8, scale.step),
            Self::Grouped { scheme, .. } => {
                let bits = u32::from(scheme.element.bits());
                let signed = matches!(scheme.element, crate::format::Element::Int(_));
                let code = match signed {
                    // Whole numbers are extended by their sign.
                    true => ((code << (32 - bits)).cast_signed() >> (32 - bits)) as u8,
                    false => code as u8,
                };
                scheme.decode(code, Self::group(scale))
            }
        }
    }
}
