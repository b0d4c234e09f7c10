//! Checkpoints for ExecuTorch and transformers: torchao's tensors in safetensors, as torchao 0.18 stores
//! them.
//!
//! | layer `X` of `[N, K]` weights | |
//! |---|---|
//! | `X._weight_qdata` | I8 `[N, K]`, a code a byte, also where codes have 4 bits |
//! | `X._weight_scale` | `[N, K/g]` in the weights' type; `[N, 1]` for whole rows |
//! | `X._weight_zero_point` | I8 `[N, K/g]`, zeros in symmetric formats |
//!
//! The header of every file says of every tensor of the checkpoint what it is: loaders keep what they read
//! last. `quantization_config` in `config.json` names torchao.
//!
//! ExecuTorch's own loader (`executorch.extension.llm.export.load`) gives tensors that its exporter fuses
//! for Vulkan and WebGPU if it is told `convert=identity`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Output, Part, Runtime, scale_dtype};
use crate::checkpoint::{Dtype, Metadata, Tensor};
use crate::format::packing::Packing;
use crate::format::{Arithmetic, Format, ScaleDtype, ScaleSearch};

/// The name in configs.
pub const METHOD: &str = "torchao";

/// What follows a weight's own name in that of its codes.
pub const CODES: &str = "qdata";
/// The same for scales.
pub const SCALES: &str = "scale";
/// The same for zero points.
pub const ZERO_POINTS: &str = "zero_point";

/// torchao's name of a tensor with one code a byte.
pub const KIND: &str = "IntxUnpackedToInt8Tensor";

/// The key under which a header lists all tensors.
const NAMES: &str = "tensor_names";

/// How codes are packed.
pub fn packing(format: Format) -> Option<Packing> {
    match format {
        Format::Int { group: None | Some(32 | 64 | 128), .. } => Some(Packing::Bytes),
        _ => None,
    }
}

/// Who loads a format. ExecuTorch's GPU operators take 4 bits without zero points.
pub fn runtimes(format: Format) -> &'static [Runtime] {
    match format {
        _ if packing(format).is_none() => &[],
        Format::Int { bits: 4, symmetric: true, .. } => {
            &[Runtime::ExecuTorch, Runtime::Transformers]
        }
        _ => &[Runtime::ExecuTorchCpu, Runtime::Transformers],
    }
}

/// The name of a part of a weight: beside `X.weight` it is `X._weight_qdata`.
pub fn part_name(weight: &str, part: &str) -> String {
    match weight.rsplit_once('.') {
        Some((module, own)) => format!("{module}._{own}_{part}"),
        None => format!("_{weight}_{part}"),
    }
}

/// The weight that a tensor is a part of, with the part, if its name is that of one.
pub fn weight_of(name: &str) -> Option<(String, &'static str)> {
    let (module, own) = name.rsplit_once('.').map_or(("", name), |(module, own)| (module, own));
    let own = own.strip_prefix('_')?;
    let part = [CODES, SCALES, ZERO_POINTS].into_iter().find(|part| own.ends_with(part))?;
    let own = own.strip_suffix(part)?.strip_suffix('_')?;
    let weight = if module.is_empty() { own.to_owned() } else { format!("{module}.{own}") };
    Some((weight, part))
}

/// The tensors that stand for a matrix.
pub fn outputs(weight: &Tensor, format: Format) -> Vec<Output> {
    let ([rows, columns], Some(scheme)) = (&weight.shape[..], format.scheme(Arithmetic::TorchAo))
    else {
        return Vec::new();
    };
    let across = scheme.scope.across(*columns as usize) as u64;
    let output = |part_of, dtype, columns, part| Output {
        name: part_name(&weight.name, part_of),
        dtype,
        shape: vec![*rows, columns],
        part,
    };
    vec![
        output(CODES, Dtype::I8, *columns, Part::Codes),
        output(SCALES, scale_dtype(scheme.store, weight), across, Part::Scales),
        output(ZERO_POINTS, Dtype::I8, across, Part::ZeroPoints),
    ]
}

/// What headers say of a quantized weight.
fn kind_of(weight: &Tensor, format: Format) -> Value {
    let columns = weight.shape.last().copied().unwrap_or(0);
    let group = match format {
        Format::Int { group: Some(group), .. } => u64::from(group),
        _ => columns,
    };
    let data_type = |name: &str| json!({ "_type": "torch.dtype", "_data": name });
    let dtype = match weight.dtype {
        Dtype::BF16 => "bfloat16",
        Dtype::F16 => "float16",
        _ => "float32",
    };
    json!({
        "_type": KIND,
        "_data": {
            "target_dtype": data_type(&format!("int{}", format.code_bits())),
            "block_size": [1, group],
            "dtype": data_type(dtype),
            "activation_quantization": null,
        },
        "_tensor_data_names": [CODES, SCALES, ZERO_POINTS],
    })
}

/// What the header of each file says: each tensor of the checkpoint, with its format if it is quantized.
pub fn metadata<'a>(tensors: impl Iterator<Item = (&'a Tensor, Option<Format>)>) -> Metadata {
    let mut names = Vec::new();
    let mut metadata = Metadata::new();
    for (tensor, format) in tensors {
        let kind = match format {
            Some(format) => kind_of(tensor, format),
            None => json!({ "_type": "Tensor" }),
        };
        metadata.insert(tensor.name.clone(), kind.to_string());
        names.push(tensor.name.as_str());
    }
    metadata.insert(NAMES.to_owned(), json!(names).to_string());
    metadata
}

/// Weights with the bits of their codes, as a header says.
pub fn stated_bits(metadata: &Metadata) -> impl Iterator<Item = (&str, u8)> {
    metadata.iter().filter_map(|(name, text)| {
        let value: Value = serde_json::from_str(text).ok()?;
        let is_ours = value.get("_type")?.as_str()? == KIND;
        let target = value.get("_data")?.get("target_dtype")?.get("_data")?.as_str()?;
        let bits = target.strip_prefix("int")?.parse().ok().filter(|_| is_ours)?;
        Some((name.as_str(), bits))
    })
}

/// The value of `quantization_config` in `config.json`. `layers` are the quantized modules; the format of
/// most of them is what loaders would give to others, while headers say what each is.
pub fn quantization_config(
    layers: &[(String, Format)],
    kept: &[String],
    (search, scale_dtype): (ScaleSearch, ScaleDtype),
) -> Value {
    let mut counts: BTreeMap<Format, usize> = BTreeMap::new();
    layers.iter().for_each(|(_, format)| *counts.entry(*format).or_default() += 1);
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(format, _)| format);
    let Some(Format::Int { bits, group, symmetric }) = most else { return Value::Null };
    let granularity = match group {
        Some(group) => {
            json!({ "_type": "PerGroup", "_version": 1, "_data": { "group_size": group } })
        }
        None => json!({ "_type": "PerAxis", "_version": 1, "_data": { "axis": 0 } }),
    };
    let mapping = match (symmetric, search) {
        (true, ScaleSearch::NoClipping) => "SYMMETRIC_NO_CLIPPING_ERR",
        (true, _) => "SYMMETRIC",
        (false, _) => "ASYMMETRIC",
    };
    let scale_dtype = match scale_dtype {
        ScaleDtype::Own => Value::Null,
        ScaleDtype::F32 => json!({ "_type": "torch.dtype", "_data": "float32" }),
    };
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    json!({
        "quant_method": METHOD,
        "quant_type": { "default": {
            "_type": "IntxWeightOnlyConfig",
            "_version": 2,
            "_data": {
                "weight_dtype": { "_type": "torch.dtype", "_data": format!("int{bits}") },
                "granularity": granularity,
                "mapping_type": { "_type": "MappingType", "_data": mapping },
                "scale_dtype": scale_dtype,
                "intx_packing_format":
                    { "_type": "IntxPackingFormat", "_data": "UNPACKED_TO_INT8" },
                "intx_choose_qparams_algorithm":
                    { "_type": "IntxChooseQParamsAlgorithm", "_data": "AFFINE" },
            },
        } },
        "modules_to_not_convert": kept,
        "include_input_output_embeddings": false,
        "untie_embedding_weights": false,
    })
}
