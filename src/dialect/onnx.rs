//! ONNX models with ONNX Runtime's operators, as version 1.32 has them.
//!
//! | node | weight | tensors |
//! |---|---|---|
//! | `MatMulNBits` | `W` of `[N, K]`, blocks of `g` along the inputs | `W_Q4` U8 `[N, ⌈K/g⌉, g·bits/8]`, `W_scales` `[N, ⌈K/g⌉]` in the weights' type, with zero points `W_zero_points` U8 `[N, ⌈⌈K/g⌉·bits/8⌉]` |
//! | `GatherBlockQuantized` | a table `E` of `[V, H]` | `E_Q4` U8 `[V, H·bits/8]`, `E_scales` `[V, H/g]`, always `E_zero_points` U8 `[V, ⌈H/g·bits/8⌉]` |
//!
//! Codes are unsigned, the first in the low bits. A table whose rows are whole blocks has the bytes that
//! `MatMulNBits` wants: so a head can read it.
//!
//! Without zero points a node takes 2^(bits − 1) for all of them, but `GatherBlockQuantized` took 0 on
//! CUDA (onnxruntime issue 31692): there they are always written.

use super::{Output, Part, Runtime};
use crate::checkpoint::{Dtype, Tensor};
use crate::format::Format;
use crate::format::packing::Packing;

/// The block that a format without one has here: the one that every hidden size divides into, and for
/// which runtimes have the most kernels.
const DEFAULT_BLOCK: u16 = 32;

/// Version of the operator set of [`crate::onnx::MICROSOFT`].
pub const OPSET: i64 = 1;

/// Bytes of a tensor below which it stays in the model's file, where others are in one of their own.
/// Readers that infer shapes need to see small tensors.
pub const EXTERNAL_BYTES: u64 = 1024;

/// What follows the name of a weight.
pub const SCALES: &str = "_scales";
/// The same for zero points.
pub const ZERO_POINTS: &str = "_zero_points";

/// What follows the name of a weight, for codes of so many bits.
pub fn codes_ending(bits: u8) -> String {
    format!("_Q{bits}")
}

/// Whole numbers without a group get blocks.
pub const fn resolve(format: Format) -> Format {
    match format {
        Format::Int { bits, group: None, symmetric } => {
            Format::Int { bits, group: Some(DEFAULT_BLOCK), symmetric }
        }
        other => other,
    }
}

/// How codes are packed.
pub fn packing(format: Format) -> Option<Packing> {
    match resolve(format) {
        Format::Int { bits, group: Some(group @ (16 | 32 | 64 | 128 | 256)), .. } => {
            Some(Packing::Blocks { bits, len: group })
        }
        _ => None,
    }
}

/// Who loads a format.
pub fn runtimes(format: Format) -> &'static [Runtime] {
    if packing(format).is_some() { &[Runtime::OnnxRuntime] } else { &[] }
}

/// The tensors that stand for a matrix, or for a table of rows that are whole blocks.
pub fn outputs(weight: &Tensor, format: Format, is_table: bool) -> Vec<Output> {
    let ([rows, columns], Format::Int { bits, group: Some(group), symmetric }) =
        (&weight.shape[..], resolve(format))
    else {
        return Vec::new();
    };
    let (bits_wide, group) = (u64::from(bits), u64::from(group));
    let across = columns.div_ceil(group);
    let output = |ending: &str, dtype, shape: Vec<u64>, part| Output {
        name: format!("{}{ending}", weight.name),
        dtype,
        shape,
        part,
    };
    let codes = match is_table {
        true => vec![*rows, columns * bits_wide / 8],
        false => vec![*rows, across, group * bits_wide / 8],
    };
    let mut outputs = vec![
        output(&codes_ending(bits), Dtype::U8, codes, Part::Codes),
        output(SCALES, weight.dtype, vec![*rows, across], Part::Scales),
    ];
    if is_table || !symmetric {
        let shape = vec![*rows, (across * bits_wide).div_ceil(8)];
        outputs.push(output(ZERO_POINTS, Dtype::U8, shape, Part::ZeroPoints));
    }
    outputs
}
