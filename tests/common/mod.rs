//! What several test files share.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod checkpoint;
mod golden;
mod gpu;
mod onnx;
mod onnx_codes;
mod program;
mod sound;
mod sparse;
mod weights;
#[cfg(feature = "gui")]
pub mod window;

use std::path::PathBuf;

pub use checkpoint::*;
pub use golden::*;
pub use gpu::*;
pub use onnx::*;
pub use onnx_codes::*;
pub use program::*;
pub use sound::*;
pub use sparse::*;
pub use weights::*;

use quantscope::numeric::FloatKind;
use safetensors::{Dtype, SafeTensors};

/// A path below `tests/data`.
pub fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// The golden inputs that NVFP4 takes, with their names: `(name, kind, columns, bytes)`.
pub fn nvfp4_inputs(kind: FloatKind) -> Vec<(String, usize, Vec<u8>)> {
    let name = match kind {
        FloatKind::Bf16 => "bf16",
        FloatKind::F16 => "f16",
        FloatKind::F32 => "f32",
    };
    let file = std::fs::read(data(&format!("modelopt/inputs_{name}.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut inputs: Vec<_> = tensors
        .iter()
        .filter(|(_, t)| matches!(t.dtype(), Dtype::BF16 | Dtype::F16 | Dtype::F32))
        .filter(|(name, t)| t.shape()[1] % 16 == 0 && !["nan", "inf"].contains(name))
        .map(|(name, t)| (name.to_owned(), t.shape()[1], t.data().to_vec()))
        .collect();
    inputs.sort();
    assert!(inputs.len() > 15, "the golden inputs are there");
    inputs
}
