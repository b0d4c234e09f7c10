//! How a runtime wants a quantized checkpoint: names, dtypes and shapes of the stored tensors, and
//! the config that describes them. One file a dialect; nothing here reads or writes files.

pub mod compressed_tensors;
mod exclude;
pub mod executorch;
pub mod modelopt;
pub mod onnx;
pub mod onnx_qdq;
pub mod q4gsw;
mod runtime;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::format::nvfp4::Rule;
use crate::format::packing::Packing;
use crate::format::{Arithmetic, Format, ScaleStore};
use crate::model::{FusedExperts, Role, grouped_weight};

pub use exclude::{ExcludeList, shortest_patterns};
pub use runtime::Runtime;

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// NVIDIA ModelOpt's Hugging Face export: [`modelopt`].
    Modelopt,
    /// The compressed-tensors library's checkpoints: [`compressed_tensors`].
    CompressedTensors,
    /// torchao's tensors, for ExecuTorch and transformers: [`executorch`].
    #[serde(rename = "executorch")]
    ExecuTorch,
    /// The packed constants of ExecuTorch's programs: [`q4gsw`].
    Q4gsw,
    /// ONNX models for ONNX Runtime: [`onnx`].
    Onnx,
    /// ONNX models with standard operators: [`onnx_qdq`].
    OnnxQdq,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 6] = [
        Self::Modelopt,
        Self::CompressedTensors,
        Self::ExecuTorch,
        Self::Q4gsw,
        Self::Onnx,
        Self::OnnxQdq,
    ];

    /// What a checkpoint becomes if nothing else is asked for.
    pub const fn usual(checkpoint: &Checkpoint) -> Self {
        if checkpoint.onnx.is_some() { Self::Onnx } else { Self::Modelopt }
    }

    /// Whether a checkpoint can become it: ONNX models stay such, and nothing else becomes one.
    pub const fn is_for(self, checkpoint: &Checkpoint) -> bool {
        checkpoint.onnx.is_some() == self.is_onnx()
    }

    /// Whether its checkpoints are ONNX models.
    pub const fn is_onnx(self) -> bool {
        matches!(self, Self::Onnx | Self::OnnxQdq)
    }

    /// The name on the command line and in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modelopt => "modelopt",
            Self::CompressedTensors => "compressed-tensors",
            Self::ExecuTorch => "executorch",
            Self::Q4gsw => "q4gsw",
            Self::Onnx => "onnx",
            Self::OnnxQdq => "onnx-qdq",
        }
    }

    /// The name that people know it by.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Modelopt => "ModelOpt",
            Self::CompressedTensors => "compressed-tensors",
            Self::ExecuTorch => "ExecuTorch",
            Self::Q4gsw => "q4gsw",
            Self::Onnx => "ONNX",
            Self::OnnxQdq => "ONNX QDQ",
        }
    }

    /// Whose arithmetic it goes with.
    pub const fn arithmetic(self) -> Arithmetic {
        match self {
            Self::Modelopt => Arithmetic::ModelOpt,
            Self::CompressedTensors => Arithmetic::CompressedTensors,
            Self::ExecuTorch | Self::Q4gsw => Arithmetic::TorchAo,
            Self::Onnx | Self::OnnxQdq => Arithmetic::OnnxRuntime,
        }
    }

    /// What the global scale of its NVFP4 means.
    pub const fn nvfp4_rule(self) -> Rule {
        match self {
            Self::CompressedTensors => Rule::CompressedTensors,
            _ => Rule::Dynamic,
        }
    }

    /// How it wants experts that the source has in one tensor.
    pub const fn fused_experts(self) -> FusedExperts {
        match self {
            Self::Modelopt | Self::Onnx | Self::OnnxQdq => FusedExperts::Packed,
            Self::CompressedTensors | Self::ExecuTorch | Self::Q4gsw => FusedExperts::Split,
        }
    }

    /// How it packs the codes of a format; `None` if it has no place for that format, or does not
    /// offer it.
    pub fn packing(self, format: Format) -> Option<Packing> {
        let is_offered = match self {
            Self::CompressedTensors => compressed_tensors::is_offered(format),
            _ => true,
        };
        self.stored_packing(format).filter(|_| is_offered)
    }

    /// How it packs the codes of a format, also of groups that it is not offered with, as others may
    /// have stored them.
    pub fn stored_packing(self, format: Format) -> Option<Packing> {
        match self {
            Self::Modelopt => modelopt::packing(format),
            Self::CompressedTensors => compressed_tensors::packing(format),
            Self::ExecuTorch => executorch::packing(format),
            Self::Q4gsw => q4gsw::packing(format),
            Self::Onnx => onnx::packing(format),
            Self::OnnxQdq => onnx_qdq::packing(format),
        }
    }

    /// Rows that are quantized, or packed, together in a format.
    pub fn rows_together(self, format: Format) -> u64 {
        let packed = self.stored_packing(format).map_or(1, Packing::rows);
        let scaled = match format.scheme(self.arithmetic()) {
            Some(scheme) if scheme.zero_points && self.zero_points() == ZeroPoints::Columns => {
                32 / usize::from(scheme.element.bits())
            }
            Some(scheme) => scheme.scope.rows().unwrap_or(1),
            None => 1,
        };
        packed.max(scaled) as u64
    }

    /// Whether it says what is quantized how elsewhere than in `config.json`.
    pub const fn has_own_file(self) -> bool {
        match self {
            Self::Modelopt | Self::Q4gsw | Self::Onnx | Self::OnnxQdq => true,
            Self::CompressedTensors | Self::ExecuTorch => false,
        }
    }

    /// Whether its runtimes read one packed table for embedding and head.
    pub const fn shares_tables(self) -> bool {
        match self {
            Self::Modelopt | Self::CompressedTensors => false,
            Self::ExecuTorch | Self::Q4gsw | Self::Onnx | Self::OnnxQdq => true,
        }
    }

    /// Whether scales may be stored in another float type than that of the weights.
    pub const fn chooses_scale_dtype(self) -> bool {
        matches!(self, Self::ExecuTorch | Self::Q4gsw)
    }

    /// The format that is meant by a name that leaves something to it.
    pub const fn resolve(self, format: Format) -> Format {
        match self {
            Self::Onnx | Self::OnnxQdq => onnx::resolve(format),
            _ => format,
        }
    }

    /// How zero points are packed.
    pub const fn zero_points(self) -> ZeroPoints {
        match self {
            Self::Modelopt | Self::CompressedTensors => ZeroPoints::Columns,
            Self::ExecuTorch | Self::Q4gsw => ZeroPoints::Bytes,
            Self::Onnx | Self::OnnxQdq => ZeroPoints::Rows,
        }
    }

    /// Whether rows of a matrix may end in a part of a block.
    pub const fn takes_part_blocks(self, role: Role) -> bool {
        matches!(self, Self::Onnx) && !matches!(role, Role::Embedding)
    }

    /// Whether it can hold fused experts `[experts, inputs, outputs]` in a format.
    pub fn packs_fused_experts(self, format: Format) -> bool {
        self == Self::Modelopt && format == Format::Nvfp4
    }

    /// The formats that it has a place for, in the order they are listed.
    pub fn formats(self) -> impl Iterator<Item = Format> {
        Format::all().filter(move |format| self.packing(*format).is_some())
    }

    /// The runtimes that load a format in it.
    pub fn runtimes(self, format: Format) -> &'static [Runtime] {
        match self {
            Self::Modelopt => modelopt::runtimes(format),
            Self::CompressedTensors => compressed_tensors::runtimes(format),
            Self::ExecuTorch => executorch::runtimes(format),
            Self::Q4gsw => q4gsw::runtimes(format),
            Self::Onnx => onnx::runtimes(format),
            Self::OnnxQdq => onnx_qdq::runtimes(format),
        }
    }

    /// The tensors that stand for a weight of some role in `format`, which the dialect has a place for.
    pub fn outputs(self, weight: &Tensor, role: Role, format: Format) -> Vec<Output> {
        match self {
            Self::Modelopt => modelopt::outputs(weight, format),
            Self::CompressedTensors => compressed_tensors::outputs(weight, format),
            Self::ExecuTorch => executorch::outputs(weight, format),
            Self::Q4gsw => q4gsw::outputs(weight, role, format),
            Self::Onnx => onnx::outputs(weight, format, role == Role::Embedding),
            Self::OnnxQdq => onnx_qdq::outputs(weight, onnx::resolve(format)),
        }
    }

    /// Bits that a weight of a large bf16 matrix takes in a format, scales included.
    pub fn bits_per_weight(self, format: Format) -> f64 {
        self.bits_per_weight_of(Dtype::BF16, format)
    }

    /// The same for weights of another float type, which scales may have as well.
    pub fn bits_per_weight_of(self, dtype: Dtype, format: Format) -> f64 {
        const LENGTH: u64 = 4096;
        let weight = Tensor {
            name: "x.weight".to_owned(),
            dtype,
            shape: vec![LENGTH, LENGTH],
            file: 0,
            offset: 0,
            bytes: dtype.bitsize() as u64 / 8 * LENGTH * LENGTH,
            strides: None,
        };
        let bytes: u64 =
            self.outputs(&weight, Role::Linear, format).iter().map(Output::bytes).sum();
        8.0 * bytes as f64 / (LENGTH * LENGTH) as f64
    }

    /// What its config lists as not quantized. `kept` are modules that hold a float matrix.
    pub fn exclude(self, kept: &[(String, Role)], quantized: &[&str]) -> Vec<String> {
        match self {
            Self::Modelopt => {
                let kept: Vec<String> = kept.iter().map(|(module, _)| module.clone()).collect();
                shortest_patterns(&kept, quantized)
            }
            Self::CompressedTensors => compressed_tensors::exclude(kept, quantized),
            Self::ExecuTorch | Self::Q4gsw => {
                kept.iter().map(|(module, _)| module.clone()).collect()
            }
            Self::Onnx | Self::OnnxQdq => Vec::new(),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown dialect \"{0}\"; known dialects: modelopt, compressed-tensors, executorch, q4gsw, onnx, \
     onnx-qdq"
)]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|dialect| dialect.name() == text);
        known.ok_or_else(|| UnknownDialect(text.to_owned()))
    }
}

/// A tensor to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// What is in it.
    pub part: Part,
}

impl Output {
    /// A copy of a tensor under its own name.
    pub fn verbatim(tensor: &Tensor) -> Self {
        let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
        Self { name, dtype: tensor.dtype, shape, part: Part::Verbatim }
    }

    /// Bytes of its data.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.dtype.bitsize() as u64 / 8
    }
}

/// How zero points are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroPoints {
    /// In words of 32 bits down the columns.
    Columns,
    /// Along the rows, each of whole bytes.
    Rows,
    /// A signed byte each.
    Bytes,
}

/// What an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The source tensor's bytes.
    Verbatim,
    /// Packed codes.
    Codes,
    /// One scale a group of weights: a block, a row, a tile, or all.
    Scales,
    /// The same, with all of one group of columns before those of the next.
    ScalesByGroup,
    /// The second level of scales: one for the tensor.
    GlobalScale,
    /// One zero point a group, packed down the columns or along the rows.
    ZeroPoints,
    /// Rows and columns of the weight.
    Shape,
}

/// The name of a part of a weight, such as `weight_scale`: beside `X.weight` it is `X.weight_scale`,
/// beside `X.weight3` it is `X.weight3_scale`, and beside a bare parameter `X` it is
/// `X_weight_scale`.
fn part_name(weight: &str, part: &str) -> String {
    match (weight.strip_suffix("weight"), part.strip_prefix("weight")) {
        (Some(module), _) => [module, part].concat(),
        (None, Some(ending)) if grouped_weight(weight).is_some() => [weight, ending].concat(),
        _ => [weight, "_", part].concat(),
    }
}

/// The type that scales are stored in, for weights of a type.
fn scale_dtype(store: ScaleStore, weight: &Tensor) -> Dtype {
    match (store, weight.dtype) {
        (ScaleStore::E8m0, _) => Dtype::U8,
        (ScaleStore::Own, Dtype::BF16 | Dtype::F16) => weight.dtype,
        (ScaleStore::Own | ScaleStore::F32, _) => Dtype::F32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A weight as a dialect sees it.
    pub fn weight(name: &str, dtype: Dtype, shape: &[u64]) -> Tensor {
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Tensor { name, dtype, shape, file: 0, offset: 0, bytes: 0, strides: None }
    }

    #[test]
    fn every_format_of_a_dialect_has_outputs_and_only_mxfp4_of_modelopt_no_runtime() {
        for dialect in Dialect::ALL {
            for format in Format::all() {
                let outputs = || {
                    dialect.outputs(
                        &weight("x.weight", Dtype::BF16, &[128, 256]),
                        Role::Linear,
                        format,
                    )
                };
                match dialect.packing(format) {
                    None => assert!(dialect.runtimes(format).is_empty(), "{dialect} {format}"),
                    Some(_) => {
                        let parts: Vec<Part> = outputs().iter().map(|output| output.part).collect();
                        let has = |part| parts.contains(&part);
                        assert!(has(Part::Codes));
                        assert!(has(Part::Scales) || has(Part::ScalesByGroup));
                        let unserved = dialect == Dialect::Modelopt && format == Format::Mxfp4;
                        assert_eq!(dialect.runtimes(format).is_empty(), unserved, "{format}");
                    }
                }
            }
        }
    }
}
