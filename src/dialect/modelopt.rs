//! NVIDIA ModelOpt's Hugging Face export, as version 0.47 writes it.
//!
//! A layer `X` of `[N, K]` weights is `X.weight` and `X.weight_scale`:
//!
//! | format | `quant_algo` | weight | scale |
//! |---|---|---|---|
//! | NVFP4 | `W4A16_NVFP4` | U8 `[N, K/2]` | F8_E4M3 `[N, K/16]`, and `X.weight_scale_2` F32 `[]` |
//! | FP8 | `FP8` | F8_E4M3 `[N, K]` | F32 `[]` |
//! | FP8, channel | `FP8_PER_CHANNEL_PER_TOKEN` | F8_E4M3 `[N, K]` | F32 `[N]` |
//! | FP8, block | `fp8_pb_wo` | F8_E4M3 `[N, K]` | F32 `[⌈N/128⌉, 1, ⌈K/128⌉, 1]` |
//! | MXFP8 | `MXFP8` | F8_E4M3 `[N, K]` | U8 `[N, K/32]` |
//! | MXFP4 | `mxfp4` | U8 `[N, K/2]` | U8 `[N, K/32]` |
//! | INT8 | `W8A16` | I8 `[N, K]` | F32 `[N]` |
//! | INT4, groups of 128 | `W4A16_AWQ` | U8 `[N/2, K]` | F32 `[N, K/128]` |
//!
//! What is quantized how stands in `hf_quant_config.json` and again as `quantization_config` in
//! `config.json`. Several formats in one checkpoint are `MIXED_PRECISION`, with a list of layers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Output, Part, Runtime, part_name, scale_dtype};
use crate::checkpoint::{Dtype, Tensor};
use crate::format::packing::Packing;
use crate::format::{Arithmetic, Format, Scope};

/// The file that holds the quantization beside `config.json`.
pub const QUANT_CONFIG_FILE: &str = "hf_quant_config.json";

/// The last part of a scale's name.
pub const SCALE: &str = "weight_scale";

/// The last part of a global scale's name.
pub const GLOBAL_SCALE: &str = "weight_scale_2";

/// Several formats in one checkpoint.
pub const MIXED_PRECISION: &str = "MIXED_PRECISION";

const INT4: Format = Format::Int { bits: 4, group: Some(128), symmetric: true };
const INT8: Format = Format::Int { bits: 8, group: None, symmetric: true };

/// The dialect's name for a format.
pub fn quant_algo(format: Format) -> Option<&'static str> {
    match format {
        Format::Nvfp4 => Some("W4A16_NVFP4"),
        Format::Fp8 => Some("FP8"),
        Format::Fp8Channel => Some("FP8_PER_CHANNEL_PER_TOKEN"),
        Format::Fp8Block => Some("fp8_pb_wo"),
        Format::Mxfp8 => Some("MXFP8"),
        Format::Mxfp4 => Some("mxfp4"),
        INT8 => Some("W8A16"),
        INT4 => Some("W4A16_AWQ"),
        Format::Int { .. } => None,
    }
}

/// The format that a name stands for. NVFP4 with quantized activations stores its weights alike.
pub fn format_of(quant_algo: &str) -> Option<Format> {
    let is = |format: &Format| {
        self::quant_algo(*format).is_some_and(|name| name.eq_ignore_ascii_case(quant_algo))
    };
    let named = Format::all().find(is);
    named.or((quant_algo == "NVFP4").then_some(Format::Nvfp4))
}

/// How codes of a format are packed.
pub fn packing(format: Format) -> Option<Packing> {
    quant_algo(format)?;
    Some(match format {
        Format::Nvfp4 | Format::Mxfp4 => Packing::Nibbles,
        INT4 => Packing::RowPairs,
        _ => Packing::Bytes,
    })
}

/// Who loads a format. Read in the sources of vLLM 0.33, SGLang 0.5 and TensorRT-LLM 1.2; vLLM and
/// SGLang take FP8 of whole tensors only with scales of activations, which need data.
pub fn runtimes(format: Format) -> &'static [Runtime] {
    use Runtime::{Sglang, TensorRtLlm, Vllm};
    match format {
        Format::Nvfp4 => &[Vllm, Sglang, TensorRtLlm],
        Format::Fp8Channel | Format::Fp8Block => &[Vllm, TensorRtLlm],
        Format::Mxfp8 => &[Vllm],
        Format::Fp8 | INT8 | INT4 => &[TensorRtLlm],
        Format::Mxfp4 | Format::Int { .. } => &[],
    }
}

/// The tensors that stand for a layer's `.weight` `[N, K]`, or for fused experts
/// `[experts, inputs, outputs]`, whose blocks run along the inputs and whose scales hang on the
/// name itself.
pub fn outputs(weight: &Tensor, format: Format) -> Vec<Output> {
    let output = |name: String, dtype, shape, part| Output { name, dtype, shape, part };
    let scale_name = part_name(&weight.name, SCALE);
    let Some(scheme) = format.scheme(Arithmetic::ModelOpt) else {
        let axis = weight.shape.len() - if weight.shape.len() == 2 { 1 } else { 2 };
        let divided = |divisor: u64| {
            let mut shape = weight.shape.clone();
            shape[axis] /= divisor;
            shape
        };
        let blocks = divided(format.block_len() as u64);
        let scale = output(scale_name, Dtype::F8_E4M3, blocks, Part::Scales);
        let global_name = part_name(&weight.name, GLOBAL_SCALE);
        let global = output(global_name, Dtype::F32, Vec::new(), Part::GlobalScale);
        return vec![
            output(weight.name.clone(), Dtype::U8, divided(2), Part::Codes),
            scale,
            global,
        ];
    };

    let [rows, columns] = weight.shape[..] else { return Vec::new() };
    let (dtype, shape) = match format {
        Format::Mxfp4 => (Dtype::U8, vec![rows, columns / 2]),
        INT4 => (Dtype::U8, vec![rows / 2, columns]),
        Format::Int { .. } => (Dtype::I8, vec![rows, columns]),
        _ => (Dtype::F8_E4M3, vec![rows, columns]),
    };
    let scales = match scheme.scope {
        Scope::Tensor => Vec::new(),
        Scope::Row => vec![rows],
        Scope::Group(len) => vec![rows, columns / len as u64],
        Scope::Tile(len) => vec![rows.div_ceil(len as u64), 1, columns.div_ceil(len as u64), 1],
    };
    let scale_dtype = scale_dtype(scheme.store, weight);
    vec![
        output(weight.name.clone(), dtype, shape, Part::Codes),
        output(scale_name, scale_dtype, scales, Part::Scales),
    ]
}

/// The producer that the files name: loaders tell the dialect's version by it.
fn producer() -> Value {
    json!({ "name": "modelopt", "version": "0.47.0" })
}

/// The weights that a group of blocks has in its config.
fn group_size(format: Format) -> Option<usize> {
    matches!(format, Format::Nvfp4 | Format::Mxfp8 | INT4).then(|| format.block_len())
}

fn algo_json(format: Format) -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("quant_algo".to_owned(), quant_algo(format).into());
    json.extend(group_size(format).map(|size| ("group_size".to_owned(), size.into())));
    json
}

/// The content of [`QUANT_CONFIG_FILE`]. `layers` are the quantized modules, and `exclude` names
/// those that are not.
pub fn quant_config_file(layers: &[(String, Format)], exclude: &[String]) -> Value {
    let mut quantization = Map::new();
    match only_format(layers) {
        Some(format) => {
            quantization.extend(algo_json(format));
            quantization.shift_insert(1, "kv_cache_quant_algo".to_owned(), Value::Null);
            if format == INT4 {
                // ModelOpt says true of the latter, also where it stores no such tensor.
                quantization.insert("has_zero_point".to_owned(), false.into());
                quantization.insert("pre_quant_scale".to_owned(), false.into());
            }
            quantization.insert("exclude_modules".to_owned(), json!(exclude));
        }
        None => {
            quantization.insert("quant_algo".to_owned(), MIXED_PRECISION.into());
            quantization.insert("kv_cache_quant_algo".to_owned(), Value::Null);
            quantization.insert("quantized_layers".to_owned(), quantized_layers(layers));
        }
    }
    json!({ "producer": producer(), "quantization": quantization })
}

/// The value of `quantization_config` in `config.json`.
pub fn quantization_config(layers: &[(String, Format)], exclude: &[String]) -> Value {
    let mut config = Map::new();
    let only = only_format(layers);
    let groups: Map<String, Value> = match only {
        Some(format) => {
            let group = config_group(format, vec!["Linear".to_owned()]);
            group.map(|group| ("group_0".to_owned(), group)).into_iter().collect()
        }
        None => formats_of(layers)
            .into_iter()
            .filter_map(|format| {
                let of_format = layers.iter().filter(|(_, other)| *other == format);
                let targets: BTreeSet<String> = of_format.map(|(name, _)| name.clone()).collect();
                let targets = targets.into_iter().collect();
                config_group(format, targets)
            })
            .enumerate()
            .map(|(i, group)| (format!("group_{i}"), group))
            .collect(),
    };
    if !groups.is_empty() {
        config.insert("config_groups".to_owned(), groups.into());
    }
    if only.is_none() {
        config.insert("quantized_layers".to_owned(), quantized_layers(layers));
    }
    // The list of layers says all in mixed precision.
    let exclude = if only.is_some() { exclude } else { &[] };
    config.insert("ignore".to_owned(), json!(exclude));
    let algo = only.map_or(Some(MIXED_PRECISION), quant_algo);
    config.insert("quant_algo".to_owned(), algo.into());
    config.insert("producer".to_owned(), producer());
    config.insert("quant_method".to_owned(), "modelopt".into());
    config.into()
}

/// How a group of layers is described; `None` for formats that ModelOpt does not describe so.
fn config_group(format: Format, targets: Vec<String>) -> Option<Value> {
    let float = |bits: u8| json!({ "dynamic": false, "num_bits": bits, "type": "float" });
    match format {
        Format::Nvfp4 => {
            let mut weights = float(4);
            weights["group_size"] = format.block_len().into();
            Some(json!({ "weights": weights, "targets": targets }))
        }
        Format::Fp8 => {
            Some(json!({ "input_activations": float(8), "weights": float(8), "targets": targets }))
        }
        _ => None,
    }
}

fn quantized_layers(layers: &[(String, Format)]) -> Value {
    let layer = |(module, format): &(String, Format)| (module.clone(), algo_json(*format).into());
    layers.iter().map(layer).collect::<Map<String, Value>>().into()
}

/// The formats of layers, in order of appearance.
fn formats_of(layers: &[(String, Format)]) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for (_, format) in layers {
        if !formats.contains(format) {
            formats.push(*format);
        }
    }
    formats
}

/// The format of all layers, if they have one.
fn only_format(layers: &[(String, Format)]) -> Option<Format> {
    match formats_of(layers)[..] {
        [format] => Some(format),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, shape: &[u64], format: Format) -> Vec<(String, Dtype, Vec<u64>)> {
        let weight = crate::dialect::tests::weight(name, Dtype::BF16, shape);
        let outputs = outputs(&weight, format);
        outputs.into_iter().map(|o| (o.name, o.dtype, o.shape)).collect()
    }

    #[test]
    fn a_layer_becomes_codes_block_scales_and_a_scalar() {
        assert_eq!(
            described("m.q_proj.weight", &[256, 128], Format::Nvfp4),
            [
                ("m.q_proj.weight".to_owned(), Dtype::U8, vec![256, 64]),
                ("m.q_proj.weight_scale".to_owned(), Dtype::F8_E4M3, vec![256, 8]),
                ("m.q_proj.weight_scale_2".to_owned(), Dtype::F32, vec![]),
            ]
        );
    }

    #[test]
    fn fused_experts_keep_their_name_and_are_packed_along_the_inputs() {
        let outputs = described("m.experts.gate_up_proj", &[4, 128, 512], Format::Nvfp4);
        let shapes: Vec<_> = outputs.into_iter().map(|(name, _, shape)| (name, shape)).collect();
        assert_eq!(
            shapes,
            [
                ("m.experts.gate_up_proj".to_owned(), vec![4, 64, 512]),
                ("m.experts.gate_up_proj_weight_scale".to_owned(), vec![4, 8, 512]),
                ("m.experts.gate_up_proj_weight_scale_2".to_owned(), vec![]),
            ]
        );
    }

    #[test]
    fn several_formats_are_listed_layer_by_layer() {
        let layers = [("a".to_owned(), Format::Fp8), ("b".to_owned(), Format::Nvfp4)];
        let config = quantization_config(&layers, &["c".to_owned()]);
        assert_eq!(config["quant_algo"], MIXED_PRECISION);
        assert_eq!(config["ignore"], json!([]));
        assert_eq!(config["config_groups"]["group_1"]["targets"], json!(["b"]));
        assert_eq!(config["quantized_layers"]["b"]["group_size"], 16);
    }
}
