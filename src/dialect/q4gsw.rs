//! The packed constants that ExecuTorch 1.5 has in its programs for Vulkan and WebGPU, as a checkpoint:
//! for inspection, for WebGPU programs of one's own, and for tests. ExecuTorch itself loads what
//! [`executorch`](super::executorch) is, and packs it so.
//!
//! | weight `X` of `[N, K]` | |
//! |---|---|
//! | `X.q4gsw_packed` | U8 `[N, K/2]`, see [`format::q4gsw`](crate::format::q4gsw) |
//! | `X.q4gsw_scales` | `[N, K/g]` of an embedding; `[K/g, N]` of a linear layer, N filled up to a multiple of 4 with zeros |
//!
//! A table that the head shares is packed once. Each of the two has scales of its own, in the order that
//! its operator reads.
//!
//! `q4gsw.json` and the header of every file say of each packed weight which operator reads it and how it
//! lies: [`Packed`]. Headers have it as text, under `X.q4gsw`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Output, Part, Runtime, scale_dtype};
use crate::checkpoint::{Dtype, Metadata, Tensor};
use crate::format::packing::Packing;
use crate::format::q4gsw::{NibbleOrder, filled_rows, row_bytes};
use crate::format::{Arithmetic, Format};
use crate::model::Role;

/// The name in configs.
pub const METHOD: &str = "q4gsw";
/// The file that says what is packed how.
pub const MANIFEST_FILE: &str = "q4gsw.json";

const PACKED: &str = ".q4gsw_packed";
const SCALES: &str = ".q4gsw_scales";
const KEY: &str = ".q4gsw";

const EMBEDDING_OP: &str = "et_vk.embedding_q4gsw.default";
const LINEAR_OP: &str = "et_vk.linear_q4gsw.default";

/// The order of scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScalesLayout {
    /// Those of a row follow one another: `[N, groups]`.
    #[serde(rename = "NG")]
    ByRow,
    /// Those of a group do: `[groups, N]`.
    #[serde(rename = "GN")]
    ByGroup,
}

impl ScalesLayout {
    /// Dimensions of the scales of so many rows.
    pub fn shape(self, rows: u64, groups: u64) -> Vec<u64> {
        match self {
            Self::ByRow => vec![rows, groups],
            Self::ByGroup => vec![groups, filled_rows(rows as usize) as u64],
        }
    }
}

/// What is said of a packed weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// The operator that reads it.
    pub op: String,
    /// The argument of that name of `embedding_q4gsw`: whether codes of even columns have the low nibble.
    pub is_linear_weight: bool,
    /// Rows and columns.
    pub shape: [u64; 2],
    /// Weights that share a scale.
    pub group_size: u64,
    /// The tensor of codes.
    pub packed: String,
    /// The order of scales.
    pub scales: ScalesLayout,
    /// The tensor of scales.
    pub scales_tensor: String,
    /// The head that reads the same codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<PackedHead>,
}

/// A head that reads the codes of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedHead {
    /// Its weight.
    pub weight: String,
    /// The operator that reads it.
    pub op: String,
    /// The order of its scales.
    pub scales: ScalesLayout,
    /// The tensor of its scales.
    pub scales_tensor: String,
}

impl Packed {
    /// Whether operators, nibbles and orders of scales go together.
    pub fn is_consistent(&self) -> bool {
        let reads = |op: &str, scales| match scales {
            ScalesLayout::ByRow => op == EMBEDDING_OP,
            ScalesLayout::ByGroup => op == LINEAR_OP && self.is_linear_weight,
        };
        let is_linear = |head: &PackedHead| head.scales == ScalesLayout::ByGroup;
        let head_reads = |head: &PackedHead| is_linear(head) && reads(&head.op, head.scales);
        let is_table = self.scales == ScalesLayout::ByRow;
        reads(&self.op, self.scales)
            && self.head.as_ref().is_none_or(|head| is_table && head_reads(head))
    }

    /// How its codes are packed.
    pub const fn packing(&self) -> Packing {
        Packing::Q4gsw(match self.is_linear_weight {
            true => NibbleOrder::EvenLow,
            false => NibbleOrder::EvenHigh,
        })
    }
}

/// How codes are packed, where nothing else is asked for.
pub fn packing(format: Format) -> Option<Packing> {
    match format {
        Format::Int { bits: 4, group: None | Some(32 | 64 | 128), symmetric: true } => {
            Some(Packing::Q4gsw(NibbleOrder::EvenLow))
        }
        _ => None,
    }
}

/// Who loads a format.
pub fn runtimes(format: Format) -> &'static [Runtime] {
    if packing(format).is_some() { &[Runtime::WebGpuPrograms] } else { &[] }
}

/// The tensors that stand for a matrix of some role.
pub fn outputs(weight: &Tensor, role: Role, format: Format) -> Vec<Output> {
    let ([rows, columns], Some(scheme)) = (&weight.shape[..], format.scheme(Arithmetic::TorchAo))
    else {
        return Vec::new();
    };
    let across = scheme.scope.across(*columns as usize) as u64;
    let (order, part) = match role {
        Role::Embedding => (ScalesLayout::ByRow, Part::Scales),
        _ => (ScalesLayout::ByGroup, Part::ScalesByGroup),
    };
    vec![
        Output {
            name: format!("{}{PACKED}", weight.name),
            dtype: Dtype::U8,
            shape: vec![*rows, row_bytes(*columns as usize) as u64],
            part: Part::Codes,
        },
        Output {
            name: format!("{}{SCALES}", weight.name),
            dtype: scale_dtype(scheme.store, weight),
            shape: order.shape(*rows, across),
            part,
        },
    ]
}

/// The scales of a head that reads the codes of a table: the same numbers in another order.
pub fn head_scales(head: &str, table: &[Output]) -> Option<Output> {
    let scales = table.iter().find(|output| output.part == Part::Scales)?;
    let [rows, groups] = scales.shape[..] else { return None };
    Some(Output {
        name: format!("{head}{SCALES}"),
        dtype: scales.dtype,
        shape: ScalesLayout::ByGroup.shape(rows, groups),
        part: Part::ScalesByGroup,
    })
}

/// How the codes of a weight with these outputs are packed. A table that a head reads too is a linear
/// weight, whatever order is asked for.
pub fn order(outputs: &[Output], asked: NibbleOrder) -> NibbleOrder {
    let is_linear = outputs.iter().any(|output| output.part == Part::ScalesByGroup);
    if is_linear { NibbleOrder::EvenLow } else { asked }
}

/// What is said of a weight of so many rows and columns that is stored so.
pub fn packed(shape: [u64; 2], outputs: &[Output], asked: NibbleOrder) -> Option<Packed> {
    let of_part = |part| outputs.iter().find(|output| output.part == part);
    let codes = of_part(Part::Codes)?;
    let (by_row, by_group) = (of_part(Part::Scales), of_part(Part::ScalesByGroup));
    let (op, scales, own) = match by_row {
        Some(own) => (EMBEDDING_OP, ScalesLayout::ByRow, own),
        None => (LINEAR_OP, ScalesLayout::ByGroup, by_group?),
    };
    let groups = match scales {
        ScalesLayout::ByRow => own.shape.last(),
        ScalesLayout::ByGroup => own.shape.first(),
    };
    let head = by_group.filter(|_| by_row.is_some()).map(|scales| PackedHead {
        weight: scales.name.trim_end_matches(SCALES).to_owned(),
        op: LINEAR_OP.to_owned(),
        scales: ScalesLayout::ByGroup,
        scales_tensor: scales.name.clone(),
    });
    Some(Packed {
        op: op.to_owned(),
        is_linear_weight: order(outputs, asked) == NibbleOrder::EvenLow,
        shape,
        group_size: shape[1] / (*groups?).max(1),
        packed: codes.name.clone(),
        scales,
        scales_tensor: own.name.clone(),
        head,
    })
}

/// What the header of each file says of packed weights.
pub fn metadata<'a>(weights: impl Iterator<Item = (&'a str, Packed)>) -> Metadata {
    weights.map(|(name, packed)| (format!("{name}{KEY}"), json!(packed).to_string())).collect()
}

/// Whether a header has packed weights.
pub fn is_packed(metadata: &Metadata) -> bool {
    metadata.keys().any(|key| key.ends_with(KEY))
}

/// The packed weights of a header, with what is said of them, or what is wrong with that.
pub fn stated(metadata: &Metadata) -> impl Iterator<Item = (&str, Result<Packed, String>)> {
    metadata.iter().filter_map(|(key, text)| {
        let packed = serde_json::from_str(text).map_err(|e| format!("its header says {e}"));
        Some((key.strip_suffix(KEY)?, packed))
    })
}

/// The manifest: what headers say, and what all of it is for.
pub fn manifest<'a>(weights: impl Iterator<Item = (&'a str, Packed)>) -> Value {
    let weights: serde_json::Map<String, Value> =
        weights.map(|(name, packed)| (name.to_owned(), json!(packed))).collect();
    json!({
        "format": METHOD,
        "about": "4-bit weights and scales as ExecuTorch's q4gsw operators read them, for inspection, \
                  WebGPU programs and tests. ExecuTorch loads a checkpoint of torchao's tensors and \
                  makes these of it.",
        "byte": "two codes along a row, each 8 more than it is; of an even column and the next the even \
                 one has the low nibble where is_linear_weight, else the high one; rows are filled up \
                 to a multiple of 8 codes with 0x88",
        "scales": "NG is [rows, groups], GN is [groups, rows] with rows filled up to a multiple of 4 \
                   with zeros",
        "weights": weights,
    })
}

/// The value of `quantization_config` in `config.json`, where loaders see that they do not know it.
pub fn quantization_config(kept: &[String]) -> Value {
    json!({ "quant_method": METHOD, "manifest": MANIFEST_FILE, "modules_to_not_convert": kept })
}
