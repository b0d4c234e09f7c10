//! ONNX models of nothing but standard operators: `DequantizeLinear` with blocks, of opset 21.
//!
//! | weight | tensors |
//! |---|---|
//! | a matrix or table of `[N, K]` | `W_Q4` INT4 or `W_Q8` INT8 `[N, K]`, `W_scales` `[N, K/g]` in the weights' type; with zero points UINT4 or UINT8, and `W_zero_points` of that type `[N, K/g]` |
//!
//! `DequantizeLinear` with `axis` 1 and `block_size` g makes `(code − zero point) · scale` of them. Its
//! result has the name of the weight, after a `Transpose` where the weight was stored as `[K, N]`, and
//! whoever took the weight takes that. Codes of 4 bits are packed without regard to rows, the first in the
//! low bits, so rows are to be whole bytes.

use super::{Output, Part, Runtime, onnx};
use crate::checkpoint::{Dtype, Tensor};
use crate::format::Format;
use crate::format::packing::Packing;
use crate::onnx::ElementType;

/// The first version of ONNX's operators that dequantizes blocks.
pub const OPSET: i64 = 21;

/// How codes are packed.
pub fn packing(format: Format) -> Option<Packing> {
    match (onnx::packing(format)?, onnx::resolve(format)) {
        (Packing::Blocks { bits: 4, .. }, Format::Int { symmetric: true, .. }) => {
            Some(Packing::Nibbles)
        }
        (Packing::Blocks { .. }, Format::Int { symmetric: true, .. }) => Some(Packing::Bytes),
        // Rows are whole blocks.
        (Packing::Blocks { bits, .. }, _) => Some(Packing::Blocks { bits, len: 1 }),
        _ => None,
    }
}

/// Who loads a format.
pub fn runtimes(format: Format) -> &'static [Runtime] {
    if packing(format).is_some() { &[Runtime::OnnxRuntime] } else { &[] }
}

/// Why a weight with rows of so many numbers has no place: its zero points of 4 bits would share bytes.
pub fn has_odd_zero_points(format: Format, columns: u64) -> bool {
    match onnx::resolve(format) {
        Format::Int { bits: 4, group: Some(group), symmetric: false } => {
            columns.div_ceil(group.into()) % 2 == 1
        }
        _ => false,
    }
}

/// The tensors that stand for a matrix or a table; two codes of 4 bits are one element of a plan.
pub fn outputs(weight: &Tensor, format: Format) -> Vec<Output> {
    let mut outputs = onnx::outputs(weight, format, true);
    if let Format::Int { bits, symmetric: true, .. } = format {
        outputs.retain(|output| output.part != Part::ZeroPoints);
        let codes = outputs.iter_mut().filter(|output| output.part == Part::Codes);
        codes.for_each(|codes| codes.dtype = if bits == 8 { Dtype::I8 } else { codes.dtype });
    }
    outputs
}

/// The type that a part has in the model; `None` for scales, which keep that of the weights.
pub fn element_type(part: Part, format: Format) -> Option<ElementType> {
    let Format::Int { bits, symmetric, .. } = format else { return None };
    matches!(part, Part::Codes | Part::ZeroPoints).then_some(match (bits, symmetric) {
        (4, true) => ElementType::Int4,
        (4, false) => ElementType::Uint4,
        (_, true) => ElementType::Int8,
        (_, false) => ElementType::Uint8,
    })
}
