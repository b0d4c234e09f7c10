//! NVIDIA ModelOpt's Hugging Face export, as version 0.47 writes it.
//!
//! A weight-only NVFP4 layer `X` is stored as `X.weight` U8 `[N, K/2]`, `X.weight_scale` F8_E4M3
//! `[N, K/16]` and `X.weight_scale_2` F32 scalar. What is quantized how stands in
//! `hf_quant_config.json` and again as `quantization_config` in `config.json`.

use serde_json::{Value, json};

use super::{Output, Part};
use crate::checkpoint::Dtype;
use crate::format::Format;

/// The file that holds the quantization beside `config.json`.
pub const QUANT_CONFIG_FILE: &str = "hf_quant_config.json";

/// The last part of a block scale's name.
pub const BLOCK_SCALE: &str = "weight_scale";

/// The last part of a global scale's name.
pub const GLOBAL_SCALE: &str = "weight_scale_2";

/// The dialect's name for weight-only NVFP4.
pub const W4A16_NVFP4: &str = "W4A16_NVFP4";

/// The tensors that stand for `name`: a layer's `.weight` `[N, K]`, or fused experts
/// `[experts, inputs, outputs]`, whose blocks run along the inputs and whose scales hang on the
/// name itself.
pub fn outputs(name: &str, shape: &[u64], format: Format) -> Vec<Output> {
    let (prefix, axis) = match name.strip_suffix("weight") {
        Some(module) => (module.to_owned(), shape.len().saturating_sub(1)),
        None => (format!("{name}_"), shape.len().saturating_sub(2)),
    };
    let divided = |divisor: u64| {
        let mut shape = shape.to_vec();
        if let Some(inputs) = shape.get_mut(axis) {
            *inputs /= divisor;
        }
        shape
    };
    vec![
        Output { name: name.to_owned(), dtype: Dtype::U8, shape: divided(2), part: Part::Codes },
        Output {
            name: format!("{prefix}{BLOCK_SCALE}"),
            dtype: Dtype::F8_E4M3,
            shape: divided(format.block_len() as u64),
            part: Part::BlockScales,
        },
        Output {
            name: format!("{prefix}{GLOBAL_SCALE}"),
            dtype: Dtype::F32,
            shape: Vec::new(),
            part: Part::GlobalScale,
        },
    ]
}

/// The producer that the files name: loaders tell the dialect's version by it.
fn producer() -> Value {
    json!({ "name": "modelopt", "version": "0.47.0" })
}

/// The content of [`QUANT_CONFIG_FILE`]. `exclude` names the modules that are not quantized.
pub fn quant_config_file(exclude: &[String]) -> Value {
    json!({
        "producer": producer(),
        "quantization": {
            "quant_algo": W4A16_NVFP4,
            "kv_cache_quant_algo": null,
            "group_size": Format::Nvfp4.block_len(),
            "exclude_modules": exclude,
        },
    })
}

/// The value of `quantization_config` in `config.json`.
pub fn quantization_config(exclude: &[String]) -> Value {
    json!({
        "config_groups": {
            "group_0": {
                "weights": {
                    "dynamic": false,
                    "num_bits": 4,
                    "type": "float",
                    "group_size": Format::Nvfp4.block_len(),
                },
                "targets": ["Linear"],
            },
        },
        "ignore": exclude,
        "quant_algo": W4A16_NVFP4,
        "producer": producer(),
        "quant_method": "modelopt",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_becomes_codes_block_scales_and_a_scalar() {
        let outputs = outputs("m.q_proj.weight", &[256, 128], Format::Nvfp4);
        let described: Vec<_> = outputs
            .iter()
            .map(|o| (o.name.as_str(), o.dtype, o.shape.as_slice(), o.bytes()))
            .collect();
        assert_eq!(
            described,
            [
                ("m.q_proj.weight", Dtype::U8, [256, 64].as_slice(), 256 * 64),
                ("m.q_proj.weight_scale", Dtype::F8_E4M3, [256, 8].as_slice(), 256 * 8),
                ("m.q_proj.weight_scale_2", Dtype::F32, [].as_slice(), 4),
            ]
        );
    }

    #[test]
    fn fused_experts_keep_their_name_and_are_packed_along_the_inputs() {
        let outputs = outputs("m.experts.gate_up_proj", &[4, 128, 512], Format::Nvfp4);
        let described: Vec<_> =
            outputs.iter().map(|o| (o.name.as_str(), o.shape.as_slice())).collect();
        assert_eq!(
            described,
            [
                ("m.experts.gate_up_proj", [4, 64, 512].as_slice()),
                ("m.experts.gate_up_proj_weight_scale", [4, 8, 512].as_slice()),
                ("m.experts.gate_up_proj_weight_scale_2", [].as_slice()),
            ]
        );
    }
}
