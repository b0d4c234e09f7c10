//! Checkpoints of the compressed-tensors library, as version 0.19 writes them.
//!
//! | format | config `format` | tensors of a layer `X` of `[N, K]` weights |
//! |---|---|---|
//! | NVFP4 | `nvfp4-pack-quantized` | `X.weight_packed` U8 `[N, K/2]`, `X.weight_scale` F8_E4M3 `[N, K/16]`, `X.weight_global_scale` F32 `[1]`, which divides |
//! | MXFP4 | `mxfp4-pack-quantized` | `X.weight_packed` U8 `[N, K/2]`, `X.weight_scale` U8 `[N, K/32]` |
//! | MXFP8 | `mxfp8-quantized` | `X.weight` F8_E4M3 `[N, K]`, `X.weight_scale` U8 `[N, K/32]` |
//! | FP8 | `float-quantized` | `X.weight` F8_E4M3 `[N, K]`, `X.weight_scale` in the weights' type: `[1]`, `[N, 1]` or `[⌈N/128⌉, ⌈K/128⌉]` |
//! | INT8 | `int-quantized` | `X.weight` I8 `[N, K]`, `X.weight_scale` `[N, 1]` |
//! | INT4, groups | `pack-quantized` | `X.weight_packed` I32 `[N, K·bits/32]`, `X.weight_scale` `[N, K/g]`, `X.weight_shape` I64 `[2]`; with zero points `X.weight_zero_point` I32 `[N·bits/32, K/g]` |
//!
//! `quantization_config` in `config.json` has one config group a format.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use super::{Output, Part, Runtime, part_name, scale_dtype};
use crate::checkpoint::{Dtype, Tensor};
use crate::format::packing::Packing;
use crate::format::{Arithmetic, Format, Scope};
use crate::model::{Role, role_of};

/// The last part of the name of packed codes.
pub const PACKED: &str = "weight_packed";

/// The last part of a scale's name.
pub const SCALE: &str = "weight_scale";

/// The last part of a global scale's name.
pub const GLOBAL_SCALE: &str = "weight_global_scale";

/// The last part of the name of zero points.
pub const ZERO_POINT: &str = "weight_zero_point";

/// The last part of the name of a shape.
pub const SHAPE: &str = "weight_shape";

/// The head, which loaders must find in the list whether it is stored or not.
const HEAD: &str = "lm_head";

const INT8: Format = Format::Int { bits: 8, group: None, symmetric: true };

/// Whether a format can be chosen: groups are of the lengths that loaders have kernels for.
pub const fn is_offered(format: Format) -> bool {
    !matches!(format, Format::Int { group: Some(16 | 256), .. })
}

/// How codes of a format are packed, offered or not.
pub fn packing(format: Format) -> Option<Packing> {
    Some(match format {
        Format::Nvfp4 | Format::Mxfp4 => Packing::Nibbles,
        Format::Mxfp8 | Format::Fp8 | Format::Fp8Channel | Format::Fp8Block | INT8 => {
            Packing::Bytes
        }
        Format::Int { bits, .. } => Packing::Words { bits },
    })
}

/// The config's name for how a format is stored.
pub fn storage(format: Format) -> &'static str {
    match format {
        Format::Nvfp4 => "nvfp4-pack-quantized",
        Format::Mxfp4 => "mxfp4-pack-quantized",
        Format::Mxfp8 => "mxfp8-quantized",
        Format::Fp8 | Format::Fp8Channel | Format::Fp8Block => "float-quantized",
        INT8 => "int-quantized",
        Format::Int { .. } => "pack-quantized",
    }
}

/// Who loads a format. vLLM 0.32 and transformers 5 were run, the others read in their sources.
pub fn runtimes(format: Format) -> &'static [Runtime] {
    use Runtime::{Sglang, TensorRtLlm, Transformers, Vllm};
    match format {
        Format::Nvfp4 => &[Vllm, Sglang, Transformers],
        Format::Mxfp4 => &[Vllm, TensorRtLlm, Transformers],
        Format::Mxfp8 => &[Vllm, Transformers],
        Format::Fp8 => &[Vllm, Sglang, Transformers],
        Format::Fp8Channel | Format::Fp8Block => &[Vllm, Sglang, TensorRtLlm, Transformers],
        Format::Int { .. } if !is_offered(format) => &[],
        Format::Int { .. } => &[Vllm, Sglang, Transformers],
    }
}

/// The tensors that stand for a layer's `.weight` `[N, K]`.
pub fn outputs(weight: &Tensor, format: Format) -> Vec<Output> {
    let [rows, columns] = weight.shape[..] else { return Vec::new() };
    let output = |name: &str, dtype, shape, part| {
        let name = match part {
            Part::Codes if name.is_empty() => weight.name.clone(),
            _ => part_name(&weight.name, name),
        };
        Output { name, dtype, shape, part }
    };
    let Some(scheme) = format.scheme(Arithmetic::CompressedTensors) else {
        let blocks = columns / format.block_len() as u64;
        return vec![
            output(PACKED, Dtype::U8, vec![rows, columns / 2], Part::Codes),
            output(SCALE, Dtype::F8_E4M3, vec![rows, blocks], Part::Scales),
            output(GLOBAL_SCALE, Dtype::F32, vec![1], Part::GlobalScale),
        ];
    };

    let across = scheme.scope.across(columns as usize) as u64;
    let scales = match scheme.scope {
        Scope::Tensor => vec![1],
        Scope::Row | Scope::Group(_) => vec![rows, across],
        Scope::Tile(len) => vec![rows.div_ceil(len as u64), across],
    };
    let scales = output(SCALE, scale_dtype(scheme.store, weight), scales, Part::Scales);
    match format {
        Format::Mxfp4 => {
            vec![output(PACKED, Dtype::U8, vec![rows, columns / 2], Part::Codes), scales]
        }
        INT8 => vec![output("", Dtype::I8, vec![rows, columns], Part::Codes), scales],
        Format::Int { bits, symmetric, .. } => {
            let bits = u64::from(bits);
            let words = (columns * bits).div_ceil(32);
            let mut outputs = vec![
                output(PACKED, Dtype::I32, vec![rows, words], Part::Codes),
                scales,
                output(SHAPE, Dtype::I64, vec![2], Part::Shape),
            ];
            if !symmetric {
                let shape = vec![(rows * bits).div_ceil(32), across];
                outputs.push(output(ZERO_POINT, Dtype::I32, shape, Part::ZeroPoints));
            }
            outputs
        }
        _ => vec![output("", Dtype::F8_E4M3, vec![rows, columns], Part::Codes), scales],
    }
}

/// What the config lists as not quantized: linear layers by their exact names, and always the head.
/// Embeddings are no linear layers, and only listed where another one is quantized.
pub fn exclude(kept: &[(String, Role)], quantized: &[&str]) -> Vec<String> {
    let roles = roles(quantized.iter().copied());
    let embeddings = roles.contains(&Role::Embedding);
    let listed = kept.iter().filter(|(_, role)| match role {
        Role::Embedding | Role::Position => embeddings,
        Role::Convolution | Role::Norm | Role::Bias => false,
        _ => true,
    });
    let mut names: BTreeSet<String> = listed.map(|(module, _)| module.clone()).collect();
    if !roles.contains(&Role::Head) {
        names.insert(HEAD.to_owned());
    }
    names.into_iter().collect()
}

/// What modules are.
fn roles<'a>(modules: impl Iterator<Item = &'a str>) -> HashSet<Role> {
    modules.map(|module| role_of(&format!("{module}.weight"), &[1, 1])).collect()
}

/// The value of `quantization_config` in `config.json`. `layers` are the quantized modules.
pub fn quantization_config(layers: &[(String, Format)], ignore: &[String]) -> Value {
    let formats: BTreeSet<Format> = layers.iter().map(|(_, format)| *format).collect();
    let several = formats.len() > 1;
    let groups: Map<String, Value> = formats
        .iter()
        .enumerate()
        .map(|(i, format)| {
            let of_format = layers.iter().filter(|(_, other)| other == format);
            let modules: BTreeSet<String> = of_format.map(|(module, _)| module.clone()).collect();
            let modules: Vec<String> = modules.into_iter().collect();
            let targets = if several { modules } else { classes(&modules) };
            (format!("group_{i}"), config_group(*format, &targets))
        })
        .collect();
    let storage = match formats.first() {
        Some(format) if !several => storage(*format),
        _ => "mixed-precision",
    };
    json!({
        "config_groups": groups,
        "format": storage,
        "global_compression_ratio": null,
        "ignore": ignore,
        "kv_cache_scheme": null,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "transform_config": {},
        "version": "0.19.0",
    })
}

/// What names all modules of one format: their classes. The class of a head is not one of linear
/// layers everywhere.
fn classes(modules: &[String]) -> Vec<String> {
    let mut targets = vec!["Linear".to_owned()];
    let roles = roles(modules.iter().map(String::as_str));
    if roles.contains(&Role::Embedding) {
        targets.push("Embedding".to_owned());
    }
    if roles.contains(&Role::Head) {
        targets.push(format!("re:.*{HEAD}$"));
    }
    targets
}

fn config_group(format: Format, targets: &[String]) -> Value {
    json!({
        "format": storage(format),
        "input_activations": activations(format),
        "output_activations": null,
        "targets": targets,
        "weights": weights(format),
    })
}

/// Arguments of one kind of tensor, with the keys that every version of the library knows.
fn arguments(bits: u8, element: &str, strategy: &str) -> Value {
    json!({
        "actorder": null,
        "block_structure": null,
        "dynamic": false,
        "group_size": null,
        "num_bits": bits,
        "observer": null,
        "observer_kwargs": {},
        "scale_dtype": null,
        "strategy": strategy,
        "symmetric": true,
        "type": element,
        "zp_dtype": null,
    })
}

fn weights(format: Format) -> Value {
    let strategy = match format.scheme(Arithmetic::CompressedTensors).map(|s| s.scope) {
        None => "tensor_group",
        Some(Scope::Tensor) => "tensor",
        Some(Scope::Row) => "channel",
        Some(Scope::Group(_)) => "group",
        Some(Scope::Tile(_)) => "block",
    };
    let element = if matches!(format, Format::Int { .. }) { "int" } else { "float" };
    let mut weights = arguments(format.code_bits(), element, strategy);
    if strategy.ends_with("group") {
        weights["group_size"] = format.block_len().into();
    }
    match format {
        Format::Nvfp4 => weights["scale_dtype"] = "torch.float8_e4m3fn".into(),
        Format::Mxfp4 | Format::Mxfp8 => weights["scale_dtype"] = "torch.uint8".into(),
        Format::Fp8Block => weights["block_structure"] = json!([128, 128]),
        Format::Int { symmetric: false, .. } => {
            weights["symmetric"] = false.into();
            weights["zp_dtype"] = "torch.int8".into();
        }
        _ => {}
    }
    weights
}

/// Formats of 8 bits with coarse scales are for products of 8-bit numbers: runtimes round
/// activations as they come, which needs no data.
fn activations(format: Format) -> Value {
    let mut activations = match format {
        Format::Fp8 | Format::Fp8Channel => arguments(8, "float", "token"),
        Format::Fp8Block => {
            let mut groups = arguments(8, "float", "group");
            groups["group_size"] = 128.into();
            groups
        }
        Format::Mxfp8 => {
            let mut groups = arguments(8, "float", "group");
            groups["group_size"] = format.block_len().into();
            groups["scale_dtype"] = "torch.uint8".into();
            groups
        }
        INT8 => arguments(8, "int", "token"),
        _ => return Value::Null,
    };
    activations["dynamic"] = true.into();
    activations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_listed_and_embeddings_only_beside_a_quantized_one() {
        let kept = [
            ("model.embed_tokens".to_owned(), Role::Embedding),
            ("m.mlp.gate".to_owned(), Role::Router),
        ];
        let (q, other) = ("m.q_proj", "model.embed_tokens_per_layer");
        assert_eq!(exclude(&kept, &[q]), ["lm_head", "m.mlp.gate"]);
        assert_eq!(exclude(&kept, &[q, other]), ["lm_head", "m.mlp.gate", "model.embed_tokens"]);
    }

    #[test]
    fn zero_points_are_packed_down_the_columns() {
        let weight = crate::dialect::tests::weight("m.weight", Dtype::BF16, &[64, 256]);
        let format = Format::Int { bits: 4, group: Some(32), symmetric: false };
        let outputs = outputs(&weight, format);
        let described: Vec<_> =
            outputs.iter().map(|o| (o.name.as_str(), o.dtype, o.shape.as_slice())).collect();
        assert_eq!(
            described,
            [
                ("m.weight_packed", Dtype::I32, [64, 32].as_slice()),
                ("m.weight_scale", Dtype::BF16, [64, 8].as_slice()),
                ("m.weight_shape", Dtype::I64, [2].as_slice()),
                ("m.weight_zero_point", Dtype::I32, [8, 8].as_slice()),
            ]
        );
    }

    #[test]
    fn several_formats_have_a_group_each_with_names_for_targets() {
        let layers = [("a".to_owned(), Format::Fp8Channel), ("b".to_owned(), Format::Nvfp4)];
        let config = quantization_config(&layers, &[]);
        assert_eq!(config["format"], "mixed-precision");
        assert_eq!(config["config_groups"]["group_0"]["targets"], json!(["b"]));
        assert_eq!(config["config_groups"]["group_1"]["format"], "float-quantized");
    }
}
