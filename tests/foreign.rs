//! Quantized checkpoints as other makers publish them: they are read, verified and made float.

mod common;

use std::collections::BTreeMap;

use common::{
    Place, Random, Stored, edit_json, language_model, read_folder, read_json, run, write_single,
};
use half::bf16;
use quantscope::numeric::e2m1;
use safetensors::Dtype;
use serde_json::json;

fn path(place: &Place, name: &str) -> String {
    place.path(name).display().to_string()
}

/// FP8 tiles as DeepSeek names them.
fn deepseek() -> Place {
    let place = Place::empty();
    let wide = language_model(Dtype::BF16, 1).into_iter().map(|t| match t.shape[..] {
        [rows, columns] => Stored::weights(&t.name, t.dtype, &[3 * rows, 3 * columns]),
        _ => t,
    });
    write_single(&place.src(), &wide.collect::<Vec<_>>(), &common::config(false));
    let arguments = ["--format", "fp8-block", "--export", "compressed-tensors", "--out"];
    let (source, out) = (path(&place, "src"), path(&place, "ours"));
    run([&[source.as_str()], &arguments[..], &[&out]].concat()).ok();

    let renamed = read_folder(&place.path("ours")).into_values().map(|tensor| {
        let name = tensor.name.replace(".weight_scale", ".weight_scale_inv");
        Stored { name, ..tensor }
    });
    let mut config = read_json(&place.path("ours").join("config.json"));
    config["quantization_config"] = json!({
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
        "weight_block_size": [128, 128],
    });
    write_single(&place.path("theirs"), &renamed.collect::<Vec<_>>(), &config);
    place
}

#[test]
fn fp8_tiles_with_inverse_scales() {
    let place = deepseek();
    let [source, theirs, ours] = ["src", "theirs", "ours"].map(|name| path(&place, name));
    let ran = run([&theirs, "--stats"]).ok();
    assert!(ran.stdout.contains("layout    fp8\n"), "{}", ran.stdout);
    assert_eq!(
        ran.lines("model.layers.0.mlp.up_proj")[0].split_whitespace().nth(3),
        Some("fp8-block")
    );
    let ran = run([&theirs, "--verify", "--against", &source]).ok();
    assert_eq!(ran.lines("FAIL"), [""; 0]);
    for (from, to) in [(&theirs, "a"), (&ours, "b")] {
        run([from, "--dequantize", "--out", &path(&place, to)]).ok();
    }
    assert!(read_folder(&place.path("a")) == read_folder(&place.path("b")));
    run([&theirs, "--repair", "--out", &path(&place, "c")])
        .fails(6, &["quant_method fp8", "compressed-tensors"]);

    // Without a config the names tell.
    edit_json(&place.path("theirs").join("config.json"), |config| {
        config.as_object_mut().unwrap().remove("quantization_config");
    });
    let ran = run([&theirs, "--stats"]).ok();
    assert!(ran.stdout.contains("layout    fp8\n"), "{}", ran.stdout);
}

const EXPERTS: usize = 3;
const OUTPUTS: usize = 40;
const INPUTS: usize = 64;

/// Experts as gpt-oss publishes them, and the values they stand for, input by input.
fn gpt_oss() -> (Place, Vec<f32>) {
    let random = &mut Random(3);
    let blocks: Vec<u8> =
        (0..EXPERTS * OUTPUTS * INPUTS / 2).map(|_| random.bits() as u8).collect();
    let scales: Vec<u8> =
        (0..EXPERTS * OUTPUTS * INPUTS / 32).map(|_| 118 + random.below(6) as u8).collect();
    let mut values = vec![0.0; EXPERTS * INPUTS * OUTPUTS];
    for expert in 0..EXPERTS {
        for output in 0..OUTPUTS {
            for input in 0..INPUTS {
                let i = (expert * OUTPUTS + output) * INPUTS + input;
                let code = blocks[i / 2] >> (4 * (i % 2)) & 0xF;
                let scale = 2f32.powi(i32::from(scales[i / 32]) - 127);
                values[(expert * INPUTS + input) * OUTPUTS + output] = e2m1::decode(code) * scale;
            }
        }
    }
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    let shape = [EXPERTS, OUTPUTS, INPUTS / 32, 16].map(|n| n as u64);
    let mut tensors: Vec<Stored> =
        language_model(Dtype::BF16, 1).into_iter().filter(|t| !t.name.contains(".mlp.")).collect();
    tensors.push(Stored::new(&format!("{name}_blocks"), Dtype::U8, &shape, blocks));
    tensors.push(Stored::new(&format!("{name}_scales"), Dtype::U8, &shape[..3], scales));
    let place = Place::empty();
    let config = json!({
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": INPUTS,
        "tie_word_embeddings": false,
        "quantization_config": {
            "quant_method": "mxfp4", "modules_to_not_convert": ["lm_head", "model.embed_tokens"],
        },
    });
    write_single(&place.src(), &tensors, &config);
    (place, values)
}

#[test]
fn experts_in_blocks_and_scales() {
    let (place, values) = gpt_oss();
    let [source, back, report] = ["src", "back", "report.json"].map(|name| path(&place, name));
    run([&source, "--stats", "--report", &report]).ok();
    let rows = read_json(&place.path("report.json"))["tensors"].take();
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    let of_experts =
        rows.as_array().unwrap().iter().filter(|row| row["part_of"] == name).collect::<Vec<_>>();
    assert_eq!(of_experts.len(), EXPERTS);
    let per_expert = INPUTS * OUTPUTS;
    for (row, own) in of_experts.iter().zip(values.chunks(per_expert)) {
        let amax = own.iter().fold(0f32, |amax, v| amax.max(v.abs()));
        assert_eq!(row["amax"].as_f64().unwrap(), f64::from(amax));
        assert_eq!(row["format"], "mxfp4");
    }
    let ran = run([&source, "--verify"]).ok();
    assert_eq!(ran.lines("FAIL"), [""; 0]);

    run([&source, "--dequantize", "--out", &back]).ok();
    let floats: BTreeMap<String, Stored> = read_folder(&place.path("back"));
    let experts = &floats[name];
    assert_eq!(experts.shape, [EXPERTS as u64, INPUTS as u64, OUTPUTS as u64]);
    let expected: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    assert!(experts.bytes == expected);
    assert!(!floats.keys().any(|name| name.ends_with("_blocks") || name.ends_with("_scales")));
}

#[test]
fn blocks_whose_scales_are_missing_are_told() {
    let (place, _) = gpt_oss();
    let tensors: Vec<Stored> = read_folder(&place.src()).into_values().collect();
    let without: Vec<Stored> =
        tensors.into_iter().filter(|tensor| !tensor.name.ends_with("_scales")).collect();
    write_single(&place.src(), &without, &read_json(&place.src().join("config.json")));
    let ran = run([&path(&place, "src"), "--verify"]).fails(3, &["verification failed"]);
    assert!(ran.stdout.contains("gate_up_proj has no"), "{}", ran.stdout);
}

#[test]
fn endings_that_other_tensors_have_too_mean_nothing() {
    let mut tensors = language_model(Dtype::BF16, 1);
    tensors.push(Stored::weights("model.layers.0.self_attn.resid_scales", Dtype::BF16, &[64]));
    tensors.push(Stored::new("model.num_blocks", Dtype::I64, &[1], vec![0; 8]));
    let place = Place::with(&tensors);
    place.export(&[]).ok();
    run([&path(&place, "out"), "--verify"]).ok();
}

#[test]
fn what_values_depend_on_and_is_not_read_stops_what_needs_them() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&["-q"]).ok();
    let mut tensors: Vec<Stored> = read_folder(&place.out()).into_values().collect();
    let name = "model.layers.0.self_attn.q_proj.pre_quant_scale";
    tensors.push(Stored::weights(name, Dtype::BF16, &[64]));
    let config = read_json(&place.out().join("config.json"));
    write_single(&place.path("awq"), &tensors, &config);
    let [awq, back] = ["awq", "back"].map(|name| path(&place, name));
    run([&awq, "--dequantize", "--out", &back]).fails(6, &["q_proj also depend on", name]);
    assert!(!place.path("back").exists());
    let ran = run([&awq, "--stats"]).ok();
    assert!(ran.lines("partly")[0].contains(name), "{}", ran.stdout);
    run([&awq, "--verify"]).ok();
}

#[test]
fn a_config_of_a_language_model_inside_counts() {
    let place = deepseek();
    edit_json(&place.path("theirs").join("config.json"), |config| {
        let quantization = config.as_object_mut().unwrap().remove("quantization_config").unwrap();
        config["text_config"] = json!({ "quantization_config": quantization });
    });
    let [theirs, back] = ["theirs", "back"].map(|name| path(&place, name));
    run([&theirs, "--verify"]).ok();
    run([&theirs, "--dequantize", "--out", &back]).ok();
    let config = read_json(&place.path("back").join("config.json"));
    assert!(config["text_config"]["quantization_config"].is_null());
    run([&back, "--dry-run", "--format", "nvfp4"]).ok();
}

#[test]
fn codes_of_nan_are_told() {
    let place = deepseek();
    let mut tensors: Vec<Stored> = read_folder(&place.path("theirs")).into_values().collect();
    let layer = tensors.iter_mut().find(|t| t.name.ends_with("up_proj.weight")).unwrap();
    layer.bytes[7] = 0x7F;
    layer.bytes[9] = 0xFF;
    let config = read_json(&place.path("theirs").join("config.json"));
    write_single(&place.path("theirs"), &tensors, &config);
    let ran = run([&path(&place, "theirs"), "--verify", "-q"]).fails(3, &["verification failed"]);
    assert!(ran.stdout.contains("up_proj has 2 NaN codes"), "{}", ran.stdout);
}

#[test]
fn floats_of_8_bits_in_a_form_that_is_not_known_are_no_floats() {
    let mut tensors = language_model(Dtype::BF16, 1);
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    tensors.push(Stored::new(name, Dtype::F8_E4M3, &[2, 4, 8], vec![0x38; 64]));
    tensors.push(Stored::weights(&format!("{name}_scale_inv"), Dtype::F32, &[2, 1, 1]));
    let place = Place::empty();
    let config = json!({ "quantization_config": { "quant_method": "fp8" } });
    write_single(&place.src(), &tensors, &config);
    run([&path(&place, "src"), "--dequantize", "--out", &path(&place, "back")])
        .fails(6, &["gate_up_proj has no weight_scale"]);
}
