//! Repair: what can be told from a broken checkpoint is mended, all else stays byte for byte, and
//! what cannot be told is an error that leaves nothing behind.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{
    Place, Ran, Stored, config, edit_json, language_model, read_file, read_folder, read_json, run,
    write_file,
};
use quantscope::numeric::e4m3;
use safetensors::Dtype;
use serde_json::{Value, json};

const DIALECTS: [&str; 2] = ["modelopt", "compressed-tensors"];
const LAYER: &str = "model.layers.0";
const O_PROJ: &str = "model.layers.0.self_attn.o_proj";

/// A good export of a small model.
fn exported(dialect: &str, more: &[&str]) -> Place {
    export_of(&language_model(Dtype::BF16, 1), dialect, more)
}

fn export_of(model: &[Stored], dialect: &str, more: &[&str]) -> Place {
    let place = Place::with(model);
    fs::write(place.src().join("tokenizer.json"), "{\"a\": 1}").unwrap();
    place.export(&[&["-q", "--export", dialect], more].concat()).ok();
    place
}

/// The same in any format.
fn exported_as(dialect: &str, format: &str) -> Place {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let args = ["-q", "--export", dialect, "--format", format, "--unserved", "--out", &out];
    run([&[&*source], &args[..]].concat()).ok();
    place
}

/// A checkpoint that a tool wrote, as `out`, and its source, as `src`.
fn reference(source: &str, output: &str) -> Place {
    let place = Place::empty();
    for (folder, from) in [(place.src(), source), (place.out(), output)] {
        fs::create_dir(&folder).unwrap();
        for (file, bytes) in common::files(&common::data(from)) {
            fs::write(folder.join(file), bytes).unwrap();
        }
    }
    place
}

fn edit(place: &Place, change: impl FnOnce(&mut Vec<Stored>)) {
    let file = place.out().join("model.safetensors");
    let mut tensors = read_file(&file);
    change(&mut tensors);
    write_file(&file, &tensors);
}

fn edit_tensor(place: &Place, name: &str, change: impl FnOnce(&mut Stored)) {
    edit(place, |tensors| {
        change(tensors.iter_mut().find(|tensor| tensor.name == name).unwrap());
    });
}

fn edit_config(place: &Place, change: impl FnOnce(&mut Value)) {
    edit_json(&place.out().join("config.json"), change);
}

fn global_name(dialect: &str, module: &str) -> String {
    let part = if dialect == "modelopt" { "weight_scale_2" } else { "weight_global_scale" };
    format!("{module}.{part}")
}

fn codes_name(dialect: &str, module: &str) -> String {
    format!("{module}.{}", if dialect == "modelopt" { "weight" } else { "weight_packed" })
}

fn f32_of(tensor: &Stored) -> f32 {
    f32::from_le_bytes(tensor.bytes[..].try_into().unwrap())
}

fn repair(place: &Place, more: &[&str]) -> Ran {
    let (out, fixed) = (place.out().display().to_string(), place.path("fixed"));
    run([&[&*out, "--repair", "--out", fixed.to_str().unwrap()], more].concat())
}

fn verify(place: &Place, folder: &Path, against: bool) -> Ran {
    let (folder, source) = (folder.display().to_string(), place.src().display().to_string());
    let against: &[&str] = if against { &["--against", &source] } else { &[] };
    run([&[&*folder, "--verify", "-q"], against].concat())
}

/// `out` fails verification; it is repaired into `fixed`, which passes, alone and against the source.
#[track_caller]
fn repaired(place: &Place) -> Ran {
    verify(place, &place.out(), false).fails(3, &["verification failed"]);
    let before = common::files(&place.out());
    let ran = repair(place, &[]).ok();
    assert!(!ran.lines("repaired").is_empty(), "{}", ran.stdout);
    assert_eq!(ran.lines("FAIL"), [""; 0]);
    assert_eq!(common::files(&place.out()), before, "what is read is not touched");
    verify(place, &place.path("fixed"), false).ok();
    verify(place, &place.path("fixed"), true).ok();
    ran
}

/// Tensors of `fixed` that are not those of `out`.
fn changed(place: &Place) -> Vec<String> {
    let (before, after) = (read_folder(&place.out()), read_folder(&place.path("fixed")));
    let names: Vec<&String> = before.keys().collect();
    assert_eq!(names, after.keys().collect::<Vec<_>>());
    before
        .iter()
        .filter(|(name, tensor)| after[*name] != **tensor)
        .map(|(n, _)| n.clone())
        .collect()
}

/// It cannot be repaired, and nothing is left behind.
#[track_caller]
fn hopeless(place: &Place, parts: &[&str]) {
    verify(place, &place.out(), false).fails(3, &[]);
    let before = place.listing();
    repair(place, &["-q"]).fails(3, &[&["cannot be repaired: "], parts].concat());
    assert_eq!(place.listing(), before);
}

#[test]
fn a_sound_checkpoint_is_left_alone() {
    for dialect in DIALECTS {
        let place = exported(dialect, &[]);
        let ran = repair(&place, &[]).ok();
        assert!(ran.stdout.contains("nothing to repair"), "{}", ran.stdout);
        assert_eq!(place.listing(), ["out", "src"]);
        assert_eq!(repair(&place, &["-q"]).ok().stdout, "");
    }
    for name in ["gptoss_w4a16nvfp4", "llama_mixed", "qwen3moe_w4a16nvfp4"] {
        let folder = format!("modelopt/e2e/{name}");
        let place = reference(&format!("{folder}/src"), &format!("{folder}/out"));
        assert!(repair(&place, &[]).ok().stdout.contains("nothing to repair"), "{name}");
    }
}

#[test]
fn torn_groups_get_their_largest_step() {
    for dialect in DIALECTS {
        let divides = dialect != "modelopt";
        let place = exported(dialect, &[]);
        let [q, k, v] = ["q", "k", "v"].map(|p| format!("{LAYER}.self_attn.{p}_proj"));
        edit_tensor(&place, &global_name(dialect, &k), |scale| {
            let value = f32_of(scale);
            let value = if divides { value / 1.37 } else { value * 1.37 };
            scale.bytes = value.to_le_bytes().to_vec();
        });
        let ran = repaired(&place);
        assert!(ran.stdout.contains("2 layers of 1 fused group took the largest step"));
        assert_eq!(ran.lines(&q).len() + ran.lines(&v).len(), 2, "{}", ran.stdout);

        let mut expected = Vec::new();
        let (before, after) = (read_folder(&place.out()), read_folder(&place.path("fixed")));
        let joint = f32_of(&before[&global_name(dialect, &k)]);
        for module in [&q, &v] {
            let global = global_name(dialect, module);
            let own = f32_of(&before[&global]);
            assert_eq!(f32_of(&after[&global]), joint);
            let scales = format!("{module}.weight_scale");
            let ratio = if divides { joint / own } else { own / joint };
            for (old, new) in before[&scales].bytes.iter().zip(&after[&scales].bytes) {
                let exact = f64::from(e4m3::decode(*old)) * f64::from(ratio);
                let apart = |code: u8| (f64::from(e4m3::decode(code)) - exact).abs();
                let nearest = (1..=0x7E).map(apart).fold(f64::INFINITY, f64::min);
                assert!(apart(*new) <= nearest * 1.001, "{old:#x} became {new:#x}");
            }
            expected.extend([global, scales]);
        }
        expected.sort();
        assert_eq!(changed(&place), expected, "no code changes");
    }
}

#[test]
fn the_report_says_how_much_a_step_changes_values() {
    // A factor of two loses nothing: every scale has half of it.
    for (factor, infinite) in [(2.0f32, true), (1.37, false)] {
        let place = exported("modelopt", &[]);
        edit_tensor(&place, &format!("{LAYER}.mlp.up_proj.weight_scale_2"), |scale| {
            scale.bytes = (f32_of(scale) * factor).to_le_bytes().to_vec();
        });
        let ran = repair(&place, &[]).ok();
        let row = ran.lines(&format!("{LAYER}.mlp.gate_proj"))[0].to_owned();
        let sqnr: f64 = row.split_whitespace().last().unwrap().parse().unwrap();
        assert_eq!(sqnr.is_infinite(), infinite, "{row}");
        assert!(sqnr > 25.0, "{row}");
    }
}

#[test]
fn scales_over_zeros_become_those_of_zeros() {
    for (dialect, zero) in [("modelopt", 0x38), ("compressed-tensors", 0x20)] {
        for broken in [0x00, 0x80, 0x7F, 0xFF, 0xB8] {
            let place = exported(dialect, &[]);
            edit_tensor(&place, &codes_name(dialect, O_PROJ), |codes| {
                codes.bytes[40..48].fill(0x80)
            });
            edit_tensor(&place, &format!("{O_PROJ}.weight_scale"), |scales| {
                scales.bytes[5] = broken
            });
            let ran = repaired(&place);
            assert!(ran.stdout.contains("1 scale over nothing but zeros"), "{}", ran.stdout);
            let after = read_folder(&place.path("fixed"));
            assert_eq!(after[&format!("{O_PROJ}.weight_scale")].bytes[5], zero);
            assert_eq!(changed(&place), [format!("{O_PROJ}.weight_scale")]);
        }
    }
}

#[test]
fn blocks_that_read_as_zeros_become_zeros() {
    for (dialect, zero) in [("modelopt", 0x38), ("compressed-tensors", 0x20)] {
        let place = exported(dialect, &[]);
        let (codes, scales) = (codes_name(dialect, O_PROJ), format!("{O_PROJ}.weight_scale"));
        edit_tensor(&place, &scales, |scales| scales.bytes[5] = 0);
        let ran = repaired(&place);
        assert!(ran.stdout.contains("1 block under a scale of zero"), "{}", ran.stdout);
        let (before, after) = (read_folder(&place.out()), read_folder(&place.path("fixed")));
        let mut expected = before[&codes].bytes.clone();
        expected[40..48].fill(0);
        assert_ne!(before[&codes].bytes, expected);
        assert_eq!(after[&codes].bytes, expected);
        assert_eq!(after[&scales].bytes[5], zero);
        assert_eq!(changed(&place), [codes, scales]);
    }
}

#[test]
fn scales_of_every_kind_are_mended() {
    // Format, type of a scale, bytes of a broken one, and of one.
    let nan = f32::NAN.to_le_bytes().to_vec();
    let one = 1f32.to_le_bytes().to_vec();
    let short = |value: f32| half::bf16::from_f32(value).to_le_bytes().to_vec();
    let cases = [
        ("modelopt", "mxfp8", vec![255], vec![127]),
        ("modelopt", "mxfp4", vec![255], vec![127]),
        ("modelopt", "fp8-channel", nan.clone(), one.clone()),
        ("modelopt", "fp8-block", vec![0; 4], one.clone()),
        ("modelopt", "int8", nan.clone(), one.clone()),
        ("compressed-tensors", "mxfp4", vec![255], vec![127]),
        ("compressed-tensors", "fp8-channel", short(-1.0), short(1.0)),
        ("compressed-tensors", "int4-g32", short(f32::INFINITY), short(1.0)),
        ("compressed-tensors", "int4-asym-g32", short(0.0), short(1.0)),
    ];
    for (dialect, format, broken, mended) in cases {
        let place = exported_as(dialect, format);
        let scales = format!("{O_PROJ}.weight_scale");
        let sources = read_folder(&place.out());
        let codes = [codes_name("compressed-tensors", O_PROJ), codes_name("modelopt", O_PROJ)];
        let codes = codes.into_iter().find(|name| sources.contains_key(name)).unwrap();
        let is_zeros = broken.iter().any(|byte| *byte != 0);
        edit(&place, |tensors| {
            for tensor in tensors.iter_mut() {
                if tensor.name == scales {
                    tensor.bytes[..broken.len()].copy_from_slice(&broken);
                } else if tensor.name == codes && is_zeros {
                    // Unsigned codes have their zero in the middle.
                    tensor.bytes.fill(if format == "int4-g32" { 0x88 } else { 0 });
                }
            }
        });
        verify(&place, &place.out(), false).fails(3, &[]);
        let ran = repair(&place, &[]).ok();
        let expected = if is_zeros { "over nothing but zeros" } else { "1 block under a scale" };
        assert!(ran.stdout.contains(expected), "{dialect} {format}: {}", ran.stdout);
        let after = read_folder(&place.path("fixed"));
        assert_eq!(after[&scales].bytes[..mended.len()], mended, "{dialect} {format}");
        verify(&place, &place.path("fixed"), false).ok();
        let expected = if is_zeros { vec![scales] } else { vec![codes, scales] };
        assert_eq!(changed(&place), expected, "{dialect} {format}");
    }
}

#[test]
fn codes_of_zero_are_zero_points_where_there_are_some() {
    let place = exported_as("compressed-tensors", "int4-asym-g32");
    edit_tensor(&place, &format!("{O_PROJ}.weight_scale"), |scales| scales.bytes[..2].fill(0));
    repaired(&place);
    let floats = place.path("floats").display().to_string();
    let fixed = place.path("fixed").display().to_string();
    run([&*fixed, "--dequantize", "--out", &floats, "-q"]).ok();
    let weight = &read_folder(Path::new(&floats))[&format!("{O_PROJ}.weight")];
    assert!(weight.bytes[..64].iter().all(|byte| *byte == 0));
    assert!(weight.bytes[64..128].iter().any(|byte| *byte != 0));
}

#[test]
fn a_layer_of_zeros_gets_scales_of_zeros() {
    // What ModelOpt itself writes of one.
    let mut model = language_model(Dtype::BF16, 1);
    let zeros = model.iter_mut().find(|tensor| tensor.name.ends_with("o_proj.weight")).unwrap();
    zeros.bytes.fill(0);
    for dialect in DIALECTS {
        let place = export_of(&model, dialect, &[]);
        let sound = read_folder(&place.out());
        let broken = |value: f32, scales: u8| {
            edit_tensor(&place, &global_name(dialect, O_PROJ), |scale| {
                scale.bytes = value.to_le_bytes().to_vec();
            });
            edit_tensor(&place, &format!("{O_PROJ}.weight_scale"), |scale| {
                scale.bytes.fill(scales)
            });
        };
        broken(0.0, 0x7F);
        let ran = repaired(&place);
        assert!(ran.stdout.contains("1 layer of zeros got the global scale"), "{}", ran.stdout);
        assert_eq!(read_folder(&place.path("fixed")), sound, "as an export has it");
    }
}

#[test]
fn blocks_of_fused_experts_are_mended_in_their_columns() {
    let folder = "modelopt/e2e/gptoss_w4a16nvfp4";
    let place = reference(&format!("{folder}/src"), &format!("{folder}/out"));
    let name = "model.layers.0.mlp.experts.down_proj";
    let (columns, column, line) = (read_folder(&place.out())[name].shape[2] as usize, 3, 2);
    edit_tensor(&place, &format!("{name}_weight_scale"), |scales| {
        scales.bytes[line * columns + column] = 0;
    });
    repaired(&place);
    let (before, after) = (read_folder(&place.out()), read_folder(&place.path("fixed")));
    let mut expected = before[name].bytes.clone();
    for row in 0..8 {
        expected[(line * 8 + row) * columns + column] = 0;
    }
    assert_ne!(before[name].bytes, expected);
    assert_eq!(after[name].bytes, expected);
    assert_eq!(after[&format!("{name}_weight_scale")].bytes[line * columns + column], 0x38);
}

#[test]
fn what_codes_stood_for_is_not_guessed() {
    for dialect in DIALECTS {
        let scales = format!("{O_PROJ}.weight_scale");
        for broken in [0x7F, 0xFF, 0xB8] {
            let place = exported(dialect, &[]);
            edit_tensor(&place, &scales, |scales| scales.bytes[5..7].fill(broken));
            let problem = format!("{scales} has 2 scales that are NaN, infinite or negative");
            hopeless(&place, &[&problem, "quantize it again; nothing was written"]);
        }
        for broken in [0.0, f32::NAN, -1.0] {
            let place = exported(dialect, &[]);
            let name = global_name(dialect, O_PROJ);
            edit_tensor(&place, &name, |scale| scale.bytes = broken.to_le_bytes().to_vec());
            hopeless(&place, &[&format!("{name} is {broken}, over codes that are not zero")]);
        }
        let place = exported(dialect, &[]);
        edit(&place, |tensors| tensors.retain(|tensor| tensor.name != scales));
        hopeless(&place, &[&format!("{O_PROJ} has no weight_scale")]);
    }
}

#[test]
fn a_group_of_several_formats_is_not_joined() {
    let (place, fp8) = (exported("modelopt", &[]), exported_as("modelopt", "fp8"));
    let k = format!("{LAYER}.self_attn.k_proj.");
    edit(&place, |tensors| {
        tensors.retain(|tensor| !tensor.name.starts_with(&k));
        let other = read_folder(&fp8.out()).into_values();
        tensors.extend(other.filter(|tensor| tensor.name.starts_with(&k)));
    });
    hopeless(&place, &["self_attn.k_proj, ", "are fused by runtimes, but are not in one format"]);
}

#[test]
fn a_table_that_its_type_does_not_hold_is_an_error() {
    let place = exported("modelopt", &["--quantize-embeddings"]);
    edit(&place, |tensors| tensors.retain(|tensor| tensor.name != "lm_head.weight"));
    edit_config(&place, |json| {
        json["tie_word_embeddings"] = true.into();
        json["dtype"] = "float16".into();
    });
    edit_tensor(&place, "model.embed_tokens.weight_scale_2", |scale| {
        scale.bytes = 1e3f32.to_le_bytes().to_vec();
    });
    hopeless(&place, &["model.embed_tokens.weight stands for 2688000, which F16 does not hold"]);
}

#[test]
fn a_broken_file_of_modelopt_is_written_anew() {
    let place = exported("modelopt", &[]);
    let sound = common::files(&place.out());
    let no_object = "hf_quant_config.json has no object \"quantization\"";
    for (text, why) in [
        ("{\"quantization\": 7}", no_object),
        ("[]", no_object),
        ("{", "hf_quant_config.json is no JSON: EOF"),
    ] {
        fs::write(place.out().join("hf_quant_config.json"), text).unwrap();
        let ran = verify(&place, &place.out(), false).fails(3, &["verification failed"]);
        assert!(ran.stdout.contains(why), "{}", ran.stdout);
        assert!(repair(&place, &["--overwrite"]).ok().stdout.contains(why));
        assert_eq!(
            read_json(&place.path("fixed/hf_quant_config.json"))["quantization"],
            serde_json::from_slice::<Value>(&sound["hf_quant_config.json"]).unwrap()["quantization"]
        );
    }
}

#[test]
fn missing_experts_are_not_made_up() {
    let folder = "modelopt/e2e/qwen3moe_w4a16nvfp4";
    let place = reference(&format!("{folder}/src"), &format!("{folder}/out"));
    edit(&place, |tensors| tensors.retain(|tensor| !tensor.name.contains("experts.2.")));
    hopeless(&place, &["layer 0 has no expert 2", "Fetch the checkpoint again"]);
}

/// All configs of `fixed` are those of the sound checkpoint, and no tensor changes.
#[track_caller]
fn configs_are(place: &Place, sound: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(changed(place), [""; 0]);
    for (name, bytes) in sound.iter().filter(|(name, _)| name.ends_with(".json")) {
        let mut expected: Value = serde_json::from_slice(bytes).unwrap();
        let mut found = read_json(&place.path("fixed").join(name));
        // The order of groups, and so their names, are free.
        for json in [&mut expected, &mut found] {
            if let Some(groups) = json.pointer_mut("/quantization_config/config_groups") {
                let mut list: Vec<Value> = groups.as_object().unwrap().values().cloned().collect();
                list.sort_by_key(|group| group["targets"].to_string());
                *groups = list.into();
            }
        }
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(common::files(&place.path("fixed")).len(), sound.len());
}

#[test]
fn lists_get_as_few_changes_as_make_them_true() {
    for dialect in DIALECTS {
        let files: &[(&str, &str, &str)] = &[
            ("config.json", "quantization_config", "ignore"),
            ("hf_quant_config.json", "quantization", "exclude_modules"),
        ];
        let files = &files[..if dialect == "modelopt" { 2 } else { 1 }];
        let edit_lists = |place: &Place, change: &dyn Fn(&mut Vec<Value>)| {
            for (file, key, list) in files {
                edit_json(&place.out().join(file), |json| {
                    change(json[key][list].as_array_mut().unwrap());
                });
            }
        };
        let place = exported(dialect, &[]);
        let sound = common::files(&place.out());
        edit_lists(&place, &|list| list.retain(|name| name != "lm_head"));
        let ran = repaired(&place);
        assert!(ran.stdout.contains("1 added (lm_head)"), "{}", ran.stdout);
        configs_are(&place, &sound);

        let place = exported(dialect, &[]);
        edit_lists(&place, &|list| {
            list.extend([format!("{LAYER}.mlp.up_proj").into(), "elsewhere".into()]);
            list.retain(|name| name != "lm_head");
        });
        let ran = repaired(&place);
        assert!(ran.stdout.contains("1 removed (model.layers.0.mlp.up_proj)"), "{}", ran.stdout);
        let config = read_json(&place.path("fixed/config.json"));
        let list = config["quantization_config"]["ignore"].as_array().unwrap().clone();
        assert!(list.contains(&"elsewhere".into()), "what is not wrong stays: {list:?}");
    }
}

#[test]
fn configs_that_contradict_say_what_is_stored() {
    for dialect in DIALECTS {
        let cases: [fn(&mut Value); 4] = [
            |json| drop(json.as_object_mut().unwrap().remove("quantization_config")),
            |json| json["quantization_config"] = "nothing".into(),
            |json| {
                json["quantization_config"]["quant_algo"] = "FP8".into();
                for (_, group) in
                    json["quantization_config"]["config_groups"].as_object_mut().unwrap()
                {
                    group["weights"]["num_bits"] = 8.into();
                    group["weights"]["strategy"] = "channel".into();
                }
            },
            |json| {
                json["quantization_config"]["config_groups"] = json!({});
                json["quantization_config"]["quant_algo"] = "MIXED_PRECISION".into();
            },
        ];
        for break_config in cases {
            let place = exported(dialect, &[]);
            let sound = common::files(&place.out());
            edit_config(&place, break_config);
            let keeps =
                read_json(&place.out().join("config.json"))["quantization_config"].is_object();
            if keeps {
                edit_config(&place, |json| json["quantization_config"]["kept"] = json!([1]));
            }
            repaired(&place);
            let config = place.path("fixed/config.json");
            edit_json(&config, |json| {
                let quantization = json["quantization_config"].as_object_mut().unwrap();
                assert_eq!(quantization.remove("kept"), keeps.then(|| json!([1])));
            });
            configs_are(&place, &sound);
        }
        let place = exported(dialect, &[]);
        let sound = common::files(&place.out());
        edit_config(&place, |json| {
            drop(json.as_object_mut().unwrap().remove("quantization_config"))
        });
        let _ = fs::remove_file(place.out().join("hf_quant_config.json"));
        assert!(repaired(&place).stdout.contains("was missing"));
        configs_are(&place, &sound);
    }
}

#[test]
fn a_missing_file_of_modelopt_is_written() {
    let folder = "modelopt/e2e/llama_mixed";
    let place = reference(&format!("{folder}/src"), &format!("{folder}/out"));
    let sound = common::files(&place.out());
    fs::remove_file(place.out().join("hf_quant_config.json")).unwrap();
    verify(&place, &place.out(), false).ok();
    let ran = repair(&place, &[]).ok();
    assert!(ran.stdout.contains("hf_quant_config.json was missing"), "{}", ran.stdout);
    configs_are(&place, &sound);
    assert_eq!(
        fs::read(place.path("fixed/config.json")).unwrap(),
        sound["config.json"],
        "what is true is carried byte for byte"
    );
}

#[test]
fn what_configs_say_of_activations_and_the_cache_survives() {
    // ModelOpt with scales of activations and of the cache: both files say so.
    let folder = "modelopt/e2e/llama_mixed";
    let module = "model.layers.0.mlp.down_proj";
    let break_layer = |place: &Place| {
        edit_config(place, |json| {
            json["quantization_config"]["quantized_layers"][module]["quant_algo"] = "FP8".into();
        });
    };
    let place = reference(&format!("{folder}/src"), &format!("{folder}/out"));
    let sound = common::files(&place.out());
    break_layer(&place);
    verify(&place, &place.out(), false).fails(3, &[]);
    let ran = repair(&place, &[]).ok();
    assert!(ran.stdout.contains("kept of it: kv_cache_scheme"), "{}", ran.stdout);
    configs_are(&place, &sound);

    // Where nothing says so any more, the tensors do.
    let place = reference(&format!("{folder}/src"), &format!("{folder}/out"));
    edit_config(&place, |json| drop(json.as_object_mut().unwrap().remove("quantization_config")));
    fs::remove_file(place.out().join("hf_quant_config.json")).unwrap();
    repair(&place, &[]).ok();
    let rebuilt = read_json(&place.path("fixed/config.json"))["quantization_config"].take();
    let expected: Value = serde_json::from_slice(&sound["config.json"]).unwrap();
    for key in ["quantized_layers", "kv_cache_scheme", "quant_algo"] {
        assert_eq!(rebuilt[key], expected["quantization_config"][key], "{key}");
    }

    // compressed-tensors says it in its groups.
    let folder = "compressed-tensors/e2e";
    let place = reference(&format!("{folder}/src/llama"), &format!("{folder}/llama-W8A8"));
    edit_config(&place, |json| {
        let group = &mut json["quantization_config"]["config_groups"]["W8A8"];
        group["targets"] = json!(["re:nothing"]);
        group["input_activations"]["observer"] = "mine".into();
        json["quantization_config"]["kv_cache_scheme"] = json!({ "num_bits": 8 });
    });
    repaired(&place);
    let config = read_json(&place.path("fixed/config.json"))["quantization_config"].take();
    let group = &config["config_groups"]["W8A8"];
    assert_eq!(group["targets"], json!(["Linear"]));
    assert_eq!(group["input_activations"]["observer"], "mine");
    assert_eq!(config["kv_cache_scheme"]["num_bits"], 8);
}

#[test]
fn a_config_that_explains_tensors_is_not_made_up() {
    let place = exported("modelopt", &[]);
    edit(&place, |tensors| {
        tensors.push(Stored::weights(&format!("{O_PROJ}.pre_quant_scale"), Dtype::BF16, &[64]));
    });
    edit_config(&place, |json| json["quantization_config"]["quant_algo"] = "NVFP4_AWQ".into());
    hopeless(&place, &["o_proj.pre_quant_scale cannot be told", "the config that it was written"]);
    // What does not touch the config is repaired all the same.
    edit_config(&place, |json| json["quantization_config"]["quant_algo"] = "W4A16_NVFP4".into());
    edit_tensor(&place, &format!("{O_PROJ}.weight_scale"), |scales| scales.bytes[5] = 0);
    repair(&place, &[]).ok();

    let place = exported("compressed-tensors", &[]);
    fs::remove_file(place.out().join("config.json")).unwrap();
    hopeless(&place, &["there is no config.json"]);
}

#[test]
fn a_packed_table_that_the_head_reads_becomes_floats() {
    for dialect in DIALECTS {
        for tied in [Some(true), None] {
            let place = exported(dialect, &["--quantize-embeddings"]);
            edit(&place, |tensors| tensors.retain(|tensor| tensor.name != "lm_head.weight"));
            edit_config(&place, |json| match tied {
                Some(tied) => json["tie_word_embeddings"] = tied.into(),
                None => drop(json.as_object_mut().unwrap().remove("tie_word_embeddings")),
            });
            verify(&place, &place.out(), false).fails(3, &[]);
            let ran = repair(&place, &[]).ok();
            assert!(ran.stdout.contains("model.embed_tokens is stored as BF16"), "{}", ran.stdout);
            let fixed = place.path("fixed");
            verify(&place, &fixed, false).ok();

            let floats = place.path("floats").display().to_string();
            let out = place.out().display().to_string();
            run([&*out, "--dequantize", "--out", &floats, "-q"]).ok();
            let name = "model.embed_tokens.weight";
            let (after, floats) = (read_folder(&fixed), read_folder(Path::new(&floats)));
            assert_eq!(after[name], floats[name]);
            let before = read_folder(&place.out());
            for (name, tensor) in after.iter().filter(|(other, _)| *other != name) {
                assert_eq!(before[name], *tensor);
            }
            let config = read_json(&fixed.join("config.json"));
            let quantization = &config["quantization_config"];
            if dialect == "modelopt" {
                assert_eq!(quantization["ignore"], json!(["lm_head", "model.embed_tokens"]));
            } else {
                // Embeddings are listed only where others are quantized.
                assert_eq!(quantization["ignore"], json!(["lm_head"]));
                assert_eq!(quantization["config_groups"]["group_0"]["targets"], json!(["Linear"]));
            }
        }
    }
}

#[test]
fn a_packed_head_is_untied() {
    for dialect in DIALECTS {
        for (include, module) in
            [("lm_head", "lm_head"), ("model.embed_tokens", "model.embed_tokens")]
        {
            let place = exported(dialect, &["--include", include]);
            edit_config(&place, |json| json["tie_word_embeddings"] = true.into());
            verify(&place, &place.out(), false).fails(3, &[]);
            let ran = repaired(&place);
            let line = format!("tie_word_embeddings is false, since {module} is packed");
            assert!(ran.stdout.contains(&line), "{}", ran.stdout);
            assert_eq!(changed(&place), [""; 0]);
            assert_eq!(read_json(&place.path("fixed/config.json"))["tie_word_embeddings"], false);
        }
    }
}

#[test]
fn everything_else_is_carried() {
    let place = Place::empty();
    common::write_sharded(&place.src(), &language_model(Dtype::BF16, 2), 3, &config(false));
    fs::write(place.src().join("tokenizer.json"), "{\"b\": 2}").unwrap();
    place.export(&["-q"]).ok();
    // Written as no export would.
    edit_config(&place, |_| {});
    let file = place.out().join("model-00001-of-00003.safetensors");
    let mut tensors = read_file(&file);
    let scales = tensors.iter_mut().find(|t| t.name.ends_with("weight_scale")).unwrap();
    scales.bytes[0] = 0;
    write_file(&file, &tensors);
    repaired(&place);
    let (before, after) = (common::files(&place.out()), common::files(&place.path("fixed")));
    let names: Vec<&String> = before.keys().collect();
    assert_eq!(names, after.keys().collect::<Vec<_>>());
    for name in ["tokenizer.json", "config.json", "hf_quant_config.json"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert_eq!(changed(&place).len(), 2);

    // In other files, and over an earlier repair.
    repair(&place, &["--overwrite", "--max-shard-size", "20KB", "--threads", "1"]).ok();
    assert!(common::files(&place.path("fixed")).len() > after.len());
    assert_eq!(changed(&place).len(), 2);
}

#[test]
fn a_file_that_loaders_would_not_find_gets_its_name() {
    let place = exported("modelopt", &[]);
    let (out, sound) = (place.out(), common::files(&place.out()));
    fs::rename(out.join("model.safetensors"), out.join("weights.safetensors")).unwrap();
    let ran = repaired(&place);
    assert!(ran.stdout.contains("weights.safetensors is called model.safetensors"));
    assert_eq!(common::files(&place.path("fixed")), sound);
}

#[test]
fn wrong_usage() {
    let place = exported("modelopt", &[]);
    repair(&place, &["--verify"]).fails(2, &["cannot be used with"]);
    repair(&place, &["--format", "nvfp4"]).fails(2, &["cannot be used with"]);
    let (out, source) = (place.out().display().to_string(), place.src().display().to_string());
    run([&*out, "--repair"]).fails(2, &["--out"]);
    run([&*out, "--repair", "--out", &source]).fails(2, &["exists already"]);
    run([&*out, "--repair", "--out", &out, "--overwrite"]).fails(2, &["is the checkpoint"]);
    let fixed = place.path("fixed").display().to_string();
    run([&*source, "--repair", "--out", &fixed]).fails(6, &["no quantized layer in it"]);
    assert_eq!(place.listing(), ["out", "src"]);
}
