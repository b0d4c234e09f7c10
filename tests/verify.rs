//! Verification: passes what is good, and finds every single corruption.

mod common;

use std::fs;

use common::{Place, Ran, Stored, config, edit_json, language_model, read_file, run, write_file};
use safetensors::Dtype;
use serde_json::Value;

/// Verifies `out`, on its own or against `src`.
fn verify(place: &Place, against: bool, quiet: &[&str]) -> Ran {
    let (out, source) = (place.out().display().to_string(), place.src().display().to_string());
    let mut args = vec![&*out, "--verify"];
    if against {
        args.extend(["--against", &source]);
    }
    run([&args, quiet].concat())
}

const CHECKS: [&str; 7] = ["files", "layers", "config", "ignore list", "ties", "scales", "groups"];

#[track_caller]
fn passes(place: &Place) {
    for (against, checks) in [(false, 7), (true, 11)] {
        let ran = verify(place, against, &[]).ok();
        let experts = ran.lines("pass  experts").len();
        assert_eq!(ran.lines("pass").len(), checks + experts, "{}", ran.stdout);
        assert_eq!(ran.lines("FAIL"), [""; 0]);
        assert!(CHECKS.iter().all(|name| ran.stdout.contains(&format!("pass  {name}"))));
    }
}

/// Exactly the check `name` fails, and says each of `parts`.
#[track_caller]
fn fails(place: &Place, against: bool, name: &str, parts: &[&str]) {
    let ran = verify(place, against, &["-q"]).fails(3, &["verification failed"]);
    let lines = ran.lines("FAIL");
    let [line] = lines.as_slice() else { panic!("not one failure: {}", ran.stdout) };
    assert!(line.starts_with(&format!("FAIL  {name}  ")), "{line}");
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
}

/// Checkpoint and export of a reference.
fn reference(name: &str) -> Place {
    let place = Place::empty();
    for folder in ["src", "out"] {
        fs::create_dir(place.path(folder)).unwrap();
        let reference = common::data(&format!("modelopt/e2e/{name}/{folder}"));
        for (file, bytes) in common::files(&reference) {
            fs::write(place.path(folder).join(file), bytes).unwrap();
        }
    }
    place
}

#[test]
fn references_pass() {
    for name in ["llama_tied", "llama", "qwen3moe", "gptoss"] {
        let embed = if name == "llama" { "_embed" } else { "" };
        passes(&reference(&format!("{name}_w4a16nvfp4{embed}")));
    }
}

/// A good export to be corrupted.
fn exported() -> Place {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&["-q"]).ok();
    place
}

#[test]
fn exports_pass() {
    passes(&exported());
    let untied = Place::empty();
    common::write_single(&untied.src(), &language_model(Dtype::F16, 1)[1..], &config(true));
    untied.export(&["-q", "--quantize-embeddings", "--tied", "untie"]).ok();
    passes(&untied);
    let sharded = Place::empty();
    common::write_sharded(&sharded.src(), &language_model(Dtype::F32, 2), 3, &config(false));
    sharded.export(&["-q"]).ok();
    passes(&sharded);
}

const LAYER: &str = "model.layers.0";

/// Changes the tensors of `out`.
fn edit(place: &Place, change: impl FnOnce(&mut Vec<Stored>)) {
    let file = place.out().join("model.safetensors");
    let mut tensors = read_file(&file);
    change(&mut tensors);
    write_file(&file, &tensors);
}

/// A place whose export has one tensor changed.
fn with_changed(name: &str, change: impl FnOnce(&mut Stored)) -> Place {
    let place = exported();
    edit(&place, |tensors| {
        let name = format!("{LAYER}.{name}");
        change(tensors.iter_mut().find(|tensor| tensor.name == name).unwrap());
    });
    place
}

#[test]
fn scales_that_are_no_positive_numbers_are_found() {
    let name = "self_attn.o_proj.weight_scale";
    for (byte, problem) in [
        (0x7F, "0 scales of zero, and 1 that are NaN, infinite or negative"),
        (0x00, "1 scales of zero, and 0 that are NaN, infinite or negative"),
        (0x80, "0 scales of zero, and 1 that are NaN, infinite or negative"),
        (0xB8, "0 scales of zero, and 1 that are NaN, infinite or negative"),
    ] {
        let place = with_changed(name, |scale| scale.bytes[77] = byte);
        fails(&place, false, "scales", &["self_attn.o_proj", problem]);
        let ran = verify(&place, true, &["-q"]).fails(3, &["verification failed"]);
        let lines = ran.lines("FAIL");
        assert!(lines[0].starts_with("FAIL  scales ") && lines[0].contains(problem), "{lines:?}");
        // Under a scale of zero, of either sign, there are weights, which are zeros.
        let no_numbers = "self_attn.o_proj.weight stands for weights that are no numbers";
        let is_told = lines.iter().any(|line| line.contains(no_numbers));
        assert_eq!((lines.len(), is_told), if byte & 0x7F == 0 { (1, false) } else { (2, true) });
    }
    for value in [f32::NAN, 0.0, f32::INFINITY, -1e-5] {
        let set = |scale: &mut Stored| scale.bytes = value.to_le_bytes().to_vec();
        let place = with_changed("self_attn.o_proj.weight_scale_2", set);
        let problem = format!("self_attn.o_proj has the global scale {value}");
        fails(&place, false, "scales", &[&problem]);
    }
}

#[test]
fn fused_layers_with_different_global_scales_are_found() {
    let double = |scale: &mut Stored| {
        let value = f32::from_le_bytes(scale.bytes[..].try_into().unwrap());
        scale.bytes = (value * 1.0001).to_le_bytes().to_vec();
    };
    let qkv = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "a factor of 1.0001"];
    let place = with_changed("self_attn.k_proj.weight_scale_2", double);
    fails(&place, false, "groups", &qkv);
    fails(&place, true, "groups", &qkv);
    let place = with_changed("mlp.up_proj.weight_scale_2", double);
    fails(&place, false, "groups", &["mlp.gate_proj", "mlp.up_proj"]);
}

#[test]
fn fused_layers_are_told_with_their_scales_the_furthest_apart_first() {
    let place = exported();
    let mut stored = Vec::new();
    edit(&place, |tensors| {
        for (name, factor) in [("self_attn.k_proj", 2.0f32), ("mlp.up_proj", 0.125)] {
            let name = format!("{LAYER}.{name}.weight_scale_2");
            let scale = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
            let value = f32::from_le_bytes(scale.bytes[..].try_into().unwrap()) * factor;
            scale.bytes = value.to_le_bytes().to_vec();
            stored.push(format!("{} {value:e}", name.trim_end_matches(".weight_scale_2")));
        }
    });
    let parts = [&*stored[0], &stored[1], "a factor of 2.0000", "a factor of 8.0000"];
    fails(&place, false, "groups", &parts);
    let ran = verify(&place, false, &[]);
    assert!(ran.stdout.find("8.0000") < ran.stdout.find("2.0000"), "{}", ran.stdout);
}

#[test]
fn saturated_scales_are_told_and_are_no_fault() {
    let place = exported();
    let ran = verify(&place, false, &[]).ok();
    assert!(ran.stdout.contains("at the largest value"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("most in"), "{}", ran.stdout);
    for (count, told) in [(16, false), (17, true)] {
        let set = |scale: &mut Stored| {
            scale.bytes.iter_mut().for_each(|byte| *byte = (*byte).min(0x7D));
            scale.bytes[..count].fill(0x7E);
        };
        let place = with_changed("self_attn.o_proj.weight_scale", set);
        let ran = verify(&place, false, &[]).ok();
        let most = format!("most in {LAYER}.self_attn.o_proj ({count} of 256)");
        assert_eq!(ran.stdout.contains(&most), told, "{}", ran.stdout);
    }
    // Where rows have one amplitude, every block is the one with the largest weight.
    let mut model = language_model(Dtype::BF16, 1);
    let signs = (0..64 * 64).map(|i| if i % 3 == 0 { 0.5 } else { -0.5 });
    let bytes = common::floats(Dtype::BF16, signs);
    model.iter_mut().find(|tensor| tensor.name.ends_with("o_proj.weight")).unwrap().bytes = bytes;
    let place = Place::with(&model);
    place.export(&["-q"]).ok();
    let ran = verify(&place, true, &[]).ok();
    assert!(ran.stdout.contains("o_proj (256 of 256)"), "{}", ran.stdout);
}

#[test]
fn layers_that_lack_a_part_or_have_another_form_are_found() {
    let without = |part: &str| {
        let place = exported();
        let name = format!("{LAYER}.mlp.down_proj.{part}");
        edit(&place, |tensors| tensors.retain(|tensor| tensor.name != name));
        place
    };
    for part in ["weight_scale", "weight_scale_2", "weight"] {
        let problem = format!("mlp.down_proj has no {part}");
        fails(&without(part), false, "layers", &[&problem]);
    }
    let place = with_changed("mlp.down_proj.weight_scale", |scale| scale.shape.reverse());
    fails(
        &place,
        false,
        "layers",
        &["down_proj.weight_scale is F8_E4M3 [8, 64], not F8_E4M3 [64, 8]"],
    );
    let place = with_changed("mlp.down_proj.weight_scale_2", |scale| scale.dtype = Dtype::I32);
    fails(&place, false, "layers", &["down_proj.weight_scale_2 is I32 [], not F32 []"]);
}

/// Changes a JSON file of `out`.
/// Changes both lists of modules that are not quantized.
fn edit_lists(place: &Place, change: impl Fn(&mut Vec<Value>)) {
    edit_json(&place.out().join("config.json"), |json| {
        change(json["quantization_config"]["ignore"].as_array_mut().unwrap());
    });
    edit_json(&place.out().join("hf_quant_config.json"), |json| {
        change(json["quantization"]["exclude_modules"].as_array_mut().unwrap());
    });
}

#[test]
fn ignore_lists_that_do_not_fit_the_tensors_are_found() {
    for pattern in ["model.layers.0.mlp.up_proj", "model.layers.0.mlp.up*"] {
        let place = exported();
        edit_lists(&place, |list| list.push(pattern.into()));
        fails(&place, false, "ignore list", &["mlp.up_proj is packed, but listed as float"]);
    }
    let place = exported();
    edit_lists(&place, |list| list.retain(|name| name != "lm_head"));
    fails(&place, false, "ignore list", &["lm_head is float, but not listed"]);
}

#[test]
fn configs_that_contradict_are_found() {
    let config = |change: fn(&mut Value)| {
        let place = exported();
        edit_json(&place.out().join("config.json"), change);
        place
    };
    let file = |change: fn(&mut Value)| {
        let place = exported();
        edit_json(&place.out().join("hf_quant_config.json"), change);
        place
    };
    let place = config(|json| json["quantization_config"]["quant_algo"] = "NVFP4".into());
    fails(&place, false, "config", &["config.json says \"NVFP4\""]);
    let place = file(|json| json["quantization"]["quant_algo"] = "FP8".into());
    fails(&place, false, "config", &["hf_quant_config.json says \"FP8\""]);
    let place = config(|json| drop(json.as_object_mut().unwrap().remove("quantization_config")));
    fails(&place, false, "config", &["config.json has no quantization_config"]);
    let place = file(|json| json["quantization"]["exclude_modules"] = Value::Array(Vec::new()));
    fails(&place, false, "config", &["list different modules"]);
}

#[test]
fn a_packed_table_that_the_head_shares_is_found() {
    let place = Place::empty();
    common::write_single(&place.src(), &language_model(Dtype::BF16, 1), &config(false));
    place.export(&["-q", "--quantize-embeddings"]).ok();
    edit_json(&place.out().join("config.json"), |json| json["tie_word_embeddings"] = true.into());
    fails(&place, false, "ties", &["embed_tokens is packed while tie_word_embeddings is true"]);

    edit_json(&place.out().join("config.json"), |json| {
        drop(json.as_object_mut().unwrap().remove("tie_word_embeddings"));
    });
    edit(&place, |tensors| tensors.retain(|tensor| tensor.name != "lm_head.weight"));
    fails(&place, false, "ties", &["embed_tokens is packed, and there is no head beside it"]);
}

#[test]
fn codes_that_are_not_those_of_the_source_are_found() {
    let swap = |codes: &mut Stored| codes.bytes.iter_mut().for_each(|b| *b = b.rotate_left(4));
    let place = with_changed("mlp.gate_proj.weight", swap);
    verify(&place, false, &[]).ok();
    fails(&place, true, "error", &["mlp.gate_proj.weight has only"]);
    let zero = |codes: &mut Stored| codes.bytes.fill(0);
    fails(&with_changed("mlp.gate_proj.weight", zero), true, "error", &["has only 0.0 dB"]);
}

#[test]
fn tensors_that_differ_from_the_source_are_found() {
    let place = with_changed("input_layernorm.weight", |norm| norm.bytes[5] ^= 1);
    verify(&place, false, &[]).ok();
    fails(&place, true, "kept tensors", &["input_layernorm.weight differs from the source"]);

    let to_f32 = |norm: &mut Stored| {
        *norm = Stored::weights(&norm.name, Dtype::F32, &norm.shape);
    };
    let place = with_changed("input_layernorm.weight", to_f32);
    let problem = "input_layernorm.weight is F32 [64], but BF16 [64] in the source";
    fails(&place, true, "complete", &[problem]);

    let place = exported();
    edit(&place, |tensors| tensors.retain(|tensor| tensor.name != "model.norm.weight"));
    verify(&place, false, &[]).ok();
    fails(&place, true, "complete", &["model.norm.weight of the source is missing"]);

    let place = exported();
    edit(&place, |tensors| tensors.push(Stored::weights("stray", Dtype::F32, &[3])));
    fails(&place, true, "complete", &["stray is not in the source"]);

    let place = Place::with(&language_model(Dtype::BF16, 2));
    place.export(&["-q"]).ok();
    let (one, both) = (language_model(Dtype::BF16, 1), common::read_folder(&place.src()));
    let only = |name: &str| !one.iter().any(|tensor| tensor.name == name);
    let mut shrunk = both;
    shrunk.retain(|name, _| !only(name) || !name.ends_with("down_proj.weight"));
    let shrunk: Vec<Stored> = shrunk.into_values().collect();
    common::write_single(&place.src(), &shrunk, &config(false));
    let problem = "the source has no float weight of the shape of model.layers.1.mlp.down_proj";
    fails(&place, true, "complete", &[problem]);
}

#[test]
fn the_copy_that_an_untied_head_gets_is_compared() {
    let place = Place::empty();
    common::write_single(&place.src(), &language_model(Dtype::BF16, 1)[1..], &config(true));
    place.export(&["-q", "--quantize-embeddings", "--tied", "untie"]).ok();
    edit(&place, |tensors| {
        let head = tensors.iter_mut().find(|tensor| tensor.name == "lm_head.weight").unwrap();
        head.bytes[0] ^= 1;
    });
    fails(&place, true, "kept tensors", &["lm_head.weight differs from the source"]);
}

#[test]
fn what_cannot_be_verified_is_an_error() {
    let place = exported();
    let (out, source) = (place.out().display().to_string(), place.src().display().to_string());
    run([&source, "--verify"]).fails(6, &["src: no quantized layer in it"]);
    run([&out, "--verify", "--against", &out]).fails(6, &["out: already quantized"]);
    run([&out, "--verify", "--against", "none"]).fails(1, &["cannot read none"]);
}

#[test]
fn codes_for_a_layer_of_zeros_are_found() {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    let zeros = model.iter_mut().find(|tensor| tensor.name.ends_with("o_proj.weight")).unwrap();
    zeros.bytes.fill(0);
    common::write_single(&place.src(), &model, &config(false));
    place.export(&["-q"]).ok();
    verify(&place, true, &[]).ok();
    edit(&place, |tensors| {
        let codes = tensors.iter_mut().find(|tensor| tensor.name.ends_with("o_proj.weight"));
        codes.unwrap().bytes.fill(0x77);
    });
    // The global scale of zeros is the smallest number there is, and so are these errors.
    fails(&place, true, "error", &["o_proj.weight has only -inf dB"]);
}

#[test]
fn fused_experts_without_scales_are_found() {
    let place = reference("gptoss_w4a16nvfp4");
    edit(&place, |tensors| tensors.retain(|t| !t.name.contains("gate_up_proj_weight_scale")));
    fails(&place, false, "layers", &["experts.gate_up_proj has no weight_scale"]);
}

const EXPERTS: &str = "model.layers.0.mlp.experts";

#[test]
fn experts_that_are_missing_are_found() {
    let place = reference("qwen3moe_w4a16nvfp4");
    let ran = verify(&place, false, &[]).ok();
    assert!(ran.stdout.contains("pass  experts      4 experts in 1 list"), "{}", ran.stdout);
    for (gone, problem) in [
        ("1.", "layer 0 has no expert 1 in model.layers.0.mlp.experts, and config.json says 4"),
        ("3.", "layer 0 has no expert 3 in model.layers.0.mlp.experts, and config.json says 4"),
        ("2.up_proj.", "layer 0 has no up_proj in expert 2 of model.layers.0.mlp.experts"),
    ] {
        let place = reference("qwen3moe_w4a16nvfp4");
        edit(&place, |tensors| {
            tensors.retain(|t| !t.name.starts_with(&format!("{EXPERTS}.{gone}")))
        });
        fails(&place, false, "experts", &[problem]);
    }
    let place = reference("qwen3moe_w4a16nvfp4");
    edit_json(&place.out().join("config.json"), |json| json["num_experts"] = 3.into());
    fails(&place, false, "experts", &["layer 0 has an expert 3", "config.json says 3"]);
    // A gap is one whatever the config says.
    let place = reference("qwen3moe_w4a16nvfp4");
    edit_json(&place.out().join("config.json"), |json| {
        drop(json.as_object_mut().unwrap().remove("num_experts"));
    });
    edit(&place, |tensors| tensors.retain(|t| !t.name.starts_with(&format!("{EXPERTS}.2."))));
    fails(&place, false, "experts", &["layer 0 has no expert 2"]);
}

#[test]
fn float_experts_count_as_experts() {
    let place = reference("qwen3moe_w4a16nvfp4");
    let name = format!("{EXPERTS}.2.up_proj");
    edit(&place, |tensors| {
        tensors.retain(|tensor| !tensor.name.starts_with(&name));
        tensors.push(Stored::weights(&format!("{name}.weight"), Dtype::BF16, &[64, 128]));
    });
    edit_lists(&place, |list| list.push(name.clone().into()));
    verify(&place, false, &[]).ok();
}

#[test]
fn grouped_experts_count_by_the_numbers_of_their_weights() {
    let mut model = language_model(Dtype::BF16, 1);
    for expert in 0..3 {
        let name = format!("{EXPERTS}.linear_fc1.weight{expert}");
        model.push(Stored::weights(&name, Dtype::BF16, &[64, 64]));
    }
    let place = Place::with(&model);
    place.export(&["-q", "--include", "*.linear_fc1*"]).ok();
    let ran = verify(&place, false, &[]).ok();
    assert!(ran.stdout.contains("3 experts in 1 list"), "{}", ran.stdout);
    edit(&place, |tensors| tensors.retain(|tensor| !tensor.name.contains("fc1.weight1")));
    fails(&place, false, "experts", &["layer 0 has no expert 1 in model.layers.0.mlp.experts"]);
}

#[test]
fn fused_experts_count_by_their_first_dimension() {
    let place = reference("gptoss_w4a16nvfp4");
    edit_json(&place.out().join("config.json"), |json| json["num_local_experts"] = 9.into());
    fails(&place, false, "experts", &["layer 0 has no experts", "to 8 in", "config.json says 9"]);
}

#[test]
fn experts_that_the_source_lacks_too_are_no_fault_of_the_export() {
    let mut model = language_model(Dtype::BF16, 1);
    for expert in [0, 2] {
        for (projection, shape) in [("up_proj", [64, 64]), ("down_proj", [64, 64])] {
            let name = format!("{EXPERTS}.{expert}.{projection}.weight");
            model.push(Stored::weights(&name, Dtype::BF16, &shape));
        }
    }
    let place = Place::empty();
    let mut config = config(false);
    config["num_experts"] = 3.into();
    common::write_single(&place.src(), &model, &config);
    assert!(place.export(&[]).ok().finding().contains("a layer has 2 experts"));
    verify(&place, true, &[]).ok();
    fails(&place, false, "experts", &["layer 0 has no expert 1"]);
}
