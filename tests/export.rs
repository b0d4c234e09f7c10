//! Exports, end to end: the bytes of ModelOpt, however the checkpoint is stored and run.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Place, Stored, config, files, language_model, read_folder, read_json, run};
use quantscope::gpu::adapters;
use safetensors::Dtype;

const REFERENCES: [(&str, &[&str]); 4] = [
    ("gptoss_w4a16nvfp4", &[]),
    ("llama_tied_w4a16nvfp4", &[]),
    ("llama_w4a16nvfp4_embed", &["--quantize-embeddings"]),
    ("qwen3moe_w4a16nvfp4", &[]),
];

/// Exports of all reference checkpoints on a device, against those of ModelOpt.
fn exports_are_those_of_modelopt(device: &str) {
    for (name, args) in REFERENCES {
        let reference = common::data(&format!("modelopt/e2e/{name}"));
        let place = Place::empty();
        let args = [&["--device", device], args].concat();
        run(place.export_args(&reference.join("src"), &args)).ok();
        let (ours, theirs) = (files(&place.out()), files(&reference.join("out")));
        let names = |files: &BTreeMap<String, _>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs), "{name}");
        for (file, bytes) in theirs {
            assert!(ours[&file] == bytes, "{name}/{file} differs from ModelOpt's on {device}");
        }
    }
}

#[test]
fn every_file_is_that_of_modelopt() {
    exports_are_those_of_modelopt("cpu");
}

#[test]
fn every_file_is_that_of_modelopt_on_a_gpu() {
    if adapters().is_empty() {
        let required = std::env::var_os("QUANTSCOPE_REQUIRE_GPU").is_some();
        assert!(!required, "QUANTSCOPE_REQUIRE_GPU is set, but there is no GPU adapter");
        eprintln!("no GPU adapter: the GPU test did not run");
        return;
    }
    exports_are_those_of_modelopt("gpu");
}

fn index(folder: &Path) -> serde_json::Value {
    read_json(&folder.join("model.safetensors.index.json"))
}

/// The file of each tensor, as the index lists it.
fn weight_map(folder: &Path) -> BTreeMap<String, String> {
    serde_json::from_value(index(folder)["weight_map"].clone()).unwrap()
}

/// The same, checked against the files.
fn index_of(folder: &Path) -> BTreeMap<String, String> {
    let map = weight_map(folder);
    let mut bytes = 0;
    for (file, _) in files(folder).iter().filter(|(name, _)| name.ends_with(".safetensors")) {
        for tensor in common::read_file(&folder.join(file)) {
            assert_eq!(map[&tensor.name], *file, "{}", tensor.name);
            bytes += tensor.bytes.len() as u64;
        }
    }
    assert_eq!(map.len(), read_folder(folder).len());
    assert_eq!(index(folder)["metadata"]["total_size"], bytes);
    map
}

#[test]
fn shards_hold_what_one_file_holds() {
    let model = language_model(Dtype::BF16, 2);
    let (single, sharded) = (Place::with(&model), Place::empty());
    common::write_sharded(&sharded.src(), &model, 3, &config(false));
    single.export(&[]).ok();
    sharded.export(&[]).ok();
    assert!(read_folder(&single.out()) == read_folder(&sharded.out()));

    // Tensors stay in their shards, so a group that shares a scale is spread over several.
    let (before, after) = (weight_map(&sharded.src()), index_of(&sharded.out()));
    assert!(before.iter().all(|(tensor, shard)| after[tensor] == *shard));
    let group = ["k_proj", "q_proj", "v_proj"].map(|p| &after[&in_layer(0, p)]);
    assert_ne!(group[0], group[1]);
    for name in ["config.json", "hf_quant_config.json"] {
        assert_eq!(files(&single.out())[name], files(&sharded.out())[name]);
    }
}

fn in_layer(layer: u32, projection: &str) -> String {
    format!("model.layers.{layer}.self_attn.{projection}.weight")
}

#[test]
fn one_shard_keeps_its_index() {
    let place = Place::empty();
    common::write_sharded(&place.src(), &language_model(Dtype::BF16, 1), 1, &config(false));
    place.export(&[]).ok();
    // A loader finds a file that is not called model.safetensors through the index only.
    assert_eq!(index_of(&place.out())["lm_head.weight"], "model-00001-of-00001.safetensors");
}

#[test]
fn shards_of_a_given_size() {
    let place = Place::with(&language_model(Dtype::BF16, 4));
    place.export(&[]).ok();
    let whole = read_folder(&place.out());
    for (limit, size) in [("30KB", 30_000), ("20KiB", 20 << 10)] {
        place.export(&["--overwrite", "--max-shard-size", limit]).ok();
        assert!(read_folder(&place.out()) == whole);
        let index = index_of(&place.out());
        for scale in index.keys().filter(|name| name.ends_with(".weight_scale")) {
            let module = scale.strip_suffix("_scale").unwrap();
            assert_eq!(index[module], index[scale]);
            assert_eq!(index[module], index[&format!("{scale}_2")]);
        }
        let shards: Vec<usize> = files(&place.out())
            .into_iter()
            .filter(|(name, _)| name.ends_with(".safetensors"))
            .map(|(_, bytes)| bytes.len())
            .collect();
        assert!(shards.iter().all(|&bytes| bytes <= size), "{limit}: {shards:?}");
        assert!(shards.len() > 2 && shards.iter().filter(|&&b| b < size / 2).count() <= 1);
    }
    // What fits one file is one file, with the usual name and no index.
    place.export(&["--overwrite", "--max-shard-size", "1GB"]).ok();
    assert_eq!(weight_files(&place.out()), ["model.safetensors"]);
    assert!(!place.out().join("model.safetensors.index.json").exists());
}

fn weight_files(folder: &Path) -> Vec<String> {
    files(folder).into_keys().filter(|name| name.ends_with(".safetensors")).collect()
}

#[test]
fn planned_sizes_are_those_of_the_files() {
    let place = Place::with(&language_model(Dtype::F16, 3));
    let report = place.path("plan.json").display().to_string();
    for args in [&[][..], &["--max-shard-size", "30KB"], &["--quantize-embeddings"]] {
        let source = place.src().display().to_string();
        let plan = [&[&source, "--format", "nvfp4", "--dry-run", "--report", &report], args];
        run(plan.concat()).ok();
        assert!(!place.out().exists(), "a dry run writes nothing");
        place.export(args).ok();
        let shards = weight_files(&place.out()).into_iter();
        let bytes: usize = shards.map(|name| files(&place.out())[&name].len()).sum();
        assert_eq!(read_json(Path::new(&report))["bytes_after"], bytes);
        fs::remove_dir_all(place.out()).unwrap();
    }
}

#[test]
fn bytes_and_numbers_do_not_depend_on_threads() {
    // Three chunks in one tensor, and groups that several threads work on.
    let mut model = language_model(Dtype::BF16, 2);
    model.push(Stored::weights("model.layers.0.mlp.fc1.weight", Dtype::BF16, &[4608, 2048]));
    let place = Place::with(&model);
    let results = ["1", "4"].map(|threads| {
        let report = place.path("report.csv").display().to_string();
        place.export(&["--overwrite", "--threads", threads, "--report", &report]).ok();
        (files(&place.out()), fs::read_to_string(report).unwrap())
    });
    assert!(results[0] == results[1]);
}

#[test]
fn doubles_are_quantized_as_the_floats_they_round_to() {
    let [singles, doubles] = [Dtype::F32, Dtype::F64].map(|dtype| {
        let place = Place::with(&language_model(dtype, 1));
        place.export(&[]).ok();
        read_folder(&place.out())
    });
    for (name, single) in &singles {
        let double = &doubles[name];
        match single.dtype {
            Dtype::U8 | Dtype::F8_E4M3 => assert!(single == double, "{name}"),
            // Global scales are F32 in both; what is kept stays double.
            _ if name.ends_with("_scale_2") => assert!(single == double, "{name}"),
            _ => assert_eq!((single.dtype, double.dtype), (Dtype::F32, Dtype::F64), "{name}"),
        }
    }
}

#[test]
fn every_float_type_is_quantized_and_kept_tensors_stay_byte_for_byte() {
    for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F64] {
        let mut model = language_model(dtype, 1);
        let bytes: Vec<u8> = (0..=255).collect();
        for (name, dtype, shape) in [
            ("model.layers.0.positions", Dtype::I64, [4, 8]),
            ("model.layers.0.table", Dtype::U8, [16, 16]),
            ("model.layers.0.mask", Dtype::BOOL, [1, 256]),
            ("model.layers.0.tiny", Dtype::F8_E5M2, [16, 16]),
        ] {
            model.push(Stored::new(name, dtype, &shape, bytes.clone()));
        }
        let place = Place::with(&model);
        place.export(&[]).ok();
        let after = read_folder(&place.out());
        for tensor in &model {
            let quantized = tensor.name.contains("_proj");
            let stored = &after[&tensor.name];
            match quantized {
                true => assert_eq!(stored.dtype, Dtype::U8, "{}", tensor.name),
                false => assert!(stored == tensor, "{}", tensor.name),
            }
        }
    }
}

/// The reference with single experts, its experts fused as `[experts, outputs, inputs]`.
fn with_fused_experts() -> Place {
    let place = Place::empty();
    let source = common::data("modelopt/e2e/qwen3moe_w4a16nvfp4/src");
    let mut tensors = read_folder(&source);
    let list = "model.layers.0.mlp.experts";
    let mut take = |projections: &[&str]| {
        let mut bytes = Vec::new();
        for expert in 0..4 {
            for projection in projections {
                let name = format!("{list}.{expert}.{projection}.weight");
                bytes.extend(tensors.remove(&name).unwrap().bytes);
            }
        }
        bytes
    };
    let gate_up = take(&["gate_proj", "up_proj"]);
    let down = take(&["down_proj"]);
    let fused = |name: &str, rows, bytes| {
        Stored::new(&format!("{list}.{name}"), Dtype::BF16, &[4, rows, 128], bytes)
    };
    let mut tensors: Vec<Stored> = tensors.into_values().collect();
    tensors.extend([fused("gate_up_proj", 256, gate_up), fused("down_proj", 128, down)]);
    common::write_single(&place.src(), &tensors, &read_json(&source.join("config.json")));
    place
}

#[test]
fn fused_experts_become_the_tensors_of_single_ones() {
    let place = with_fused_experts();
    place.export(&["-q", "--strict"]).ok();
    let reference = common::data("modelopt/e2e/qwen3moe_w4a16nvfp4/out");
    let (ours, theirs) = (read_folder(&place.out()), read_folder(&reference));
    let names = |tensors: &BTreeMap<String, Stored>| tensors.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (name, tensor) in theirs {
        assert!(ours[&name].bytes == tensor.bytes, "{name} differs from ModelOpt's");
    }
    let config = |folder: &Path| read_json(&folder.join("hf_quant_config.json"));
    assert_eq!(config(&place.out()), config(&reference));
}

#[test]
fn fused_experts_that_are_kept_are_split_with_their_list() {
    let place = with_fused_experts();
    let ran = place.export(&["-q", "--exclude", "*.experts.gate_up_proj"]).ok();
    assert!(ran.finding().contains("runtimes fuse with them are quantized"), "{}", ran.stdout);
    let after = read_folder(&place.out());
    let source = read_folder(&common::data("modelopt/e2e/qwen3moe_w4a16nvfp4/src"));
    let list = "model.layers.0.mlp.experts";
    assert_eq!(after[&format!("{list}.2.down_proj.weight")].dtype, Dtype::U8);
    let kept = format!("{list}.2.up_proj.weight");
    assert!(after[&kept] == source[&kept]);
}

#[test]
fn fused_experts_none_of_which_is_quantized_stay_as_they_are() {
    let place = with_fused_experts();
    place.export(&["-q", "--exclude", "*.experts.*"]).ok();
    let (before, after) = (read_folder(&place.src()), read_folder(&place.out()));
    for name in ["gate_up_proj", "down_proj"] {
        let name = format!("model.layers.0.mlp.experts.{name}");
        assert!(after[&name] == before[&name], "{name}");
    }
}
