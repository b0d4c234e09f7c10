//! Whole checkpoints, quantized as the reference tools did: every tensor and the quantization
//! config, on the CPU and on every GPU.
//!
//! compressed-tensors made its checkpoints on a CPU, so its rounding of quotients is chosen here.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use common::{Place, data, read_folder, read_json, write_single};
use quantscope::backend::Backend;
use quantscope::checkpoint::{CONFIG_FILE, Checkpoint};
use quantscope::cpu::Cpu;
use quantscope::dialect::Dialect;
use quantscope::dialect::modelopt::QUANT_CONFIG_FILE;
use quantscope::engine::{EngineError, Piece, Progress, Resources, Run, Sink};
use quantscope::export::config;
use quantscope::format::Quotient;
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::recipe::Recipe;
use serde_json::Value;

const COMPRESSED: Dialect = Dialect::CompressedTensors;

/// Source, output and what makes the one the other, below `tests/data`.
struct Reference {
    source: String,
    output: String,
    dialect: Dialect,
    recipe: &'static str,
}

fn references() -> Vec<Reference> {
    let modelopt = [
        ("gptoss_w4a16nvfp4", "format = 'nvfp4'"),
        ("llama_fp8_noact", "format = 'fp8'"),
        ("llama_fp8pcpt", "format = 'fp8-channel'"),
        ("llama_int4bw_embed", "format = 'int4-g128'\nquantize_embeddings = true"),
        ("llama_int8wo", "format = 'int8'"),
        ("llama_mixed", "format = 'nvfp4'\n[[rule]]\nroles = ['attention']\nset = 'fp8'"),
        ("llama_mxfp8", "format = 'mxfp8'"),
        ("llama_tied_w4a16nvfp4", "format = 'nvfp4'"),
        ("llama_w4a16nvfp4_embed", "format = 'nvfp4'\nquantize_embeddings = true"),
        ("qwen3moe_w4a16nvfp4", "format = 'nvfp4'"),
    ];
    let compressed = [
        ("llama-FP8_BLOCK", "llama", "format = 'fp8-block'"),
        ("llama-FP8_DYNAMIC", "llama", "format = 'fp8-channel'"),
        ("llama-MXFP4A16", "llama", "format = 'mxfp4'"),
        ("llama-MXFP8", "llama", "format = 'mxfp8'"),
        ("llama-NVFP4A16", "llama", "format = 'nvfp4'"),
        ("llama-W4A16", "llama", "format = 'int4-g128'"),
        ("llama-W4A16_ASYM", "llama", "format = 'int4-asym-g128'"),
        ("llama-W8A16", "llama", "format = 'int8-g128'"),
        ("llama-W8A8", "llama", "format = 'int8'"),
        ("llama-tied-NVFP4A16", "llama-tied", "format = 'nvfp4'"),
        ("qwen3-moe-NVFP4A16", "qwen3-moe", "format = 'nvfp4'"),
    ];
    let modelopt = modelopt.map(|(name, recipe)| Reference {
        source: format!("modelopt/e2e/{name}/src"),
        output: format!("modelopt/e2e/{name}/out"),
        dialect: Dialect::Modelopt,
        recipe,
    });
    let compressed = compressed.map(|(name, source, recipe)| Reference {
        source: format!("compressed-tensors/e2e/src/{source}"),
        output: format!("compressed-tensors/e2e/{name}"),
        dialect: COMPRESSED,
        recipe,
    });
    modelopt.into_iter().chain(compressed).collect()
}

/// Collects outputs by entry and number.
struct Collected<'a> {
    plan: &'a Plan,
    outputs: Mutex<BTreeMap<(usize, usize), Vec<u8>>>,
}

impl Sink for Collected<'_> {
    fn write(
        &self,
        entry: usize,
        output: usize,
        at: u64,
        bytes: &[u8],
    ) -> Result<Option<Piece>, EngineError> {
        let length = self.plan.entries[entry].outputs[output].bytes() as usize;
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let into = outputs.entry((entry, output)).or_insert_with(|| vec![0xAA; length]);
        into[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        Ok(None)
    }
}

struct NoProgress;

impl Progress for NoProgress {
    fn add(&self, _: u64) {}
}

/// Tensors that need data: scales of activations.
fn needs_data(name: &str) -> bool {
    ["input_scale", "k_scale", "v_scale"].iter().any(|end| name.ends_with(end))
}

/// The checkpoint of an untied model whose head is its table: without a head of its own.
fn tied(untied: &Path, folder: &Path) -> PathBuf {
    let mut tensors = read_folder(untied);
    tensors.remove("lm_head.weight");
    let mut config = read_json(&untied.join(CONFIG_FILE));
    config["tie_word_embeddings"] = true.into();
    write_single(folder, &tensors.into_values().collect::<Vec<_>>(), &config);
    folder.to_owned()
}

fn compare(reference: &Reference, backend: &dyn Backend) {
    let output = data(&reference.output);
    let place = Place::empty();
    let source = match reference.source.strip_suffix("-tied") {
        Some(untied) => tied(&data(untied), &place.src()),
        None => data(&reference.source),
    };
    let checkpoint = Checkpoint::open(&source).unwrap();
    let model = Model::new(&checkpoint, reference.dialect.fused_experts());
    let recipe: Recipe = toml::from_str(reference.recipe).unwrap();
    let mut plan = Plan::new(&model, &recipe, reference.dialect, Sharding::AsSource).unwrap();
    if reference.dialect == COMPRESSED {
        plan.quotient = Some(Quotient::Own);
    }
    let sink = Collected { plan: &plan, outputs: Mutex::default() };
    let cancel = AtomicBool::new(false);
    let resources = Resources { backend, workers: 2, progress: &NoProgress, cancel: &cancel };
    Run { checkpoint: &checkpoint, plan: &plan, sink: Some(&sink), resources }.execute().unwrap();

    let ours = sink.outputs.into_inner().unwrap();
    let ours: BTreeMap<&str, (String, &[u64], &Vec<u8>)> = ours
        .iter()
        .map(|((entry, output), bytes)| {
            let output = &plan.entries[*entry].outputs[*output];
            let about = (output.dtype.to_string(), output.shape.as_slice(), bytes);
            (output.name.as_str(), about)
        })
        .collect();
    let theirs = read_folder(&output);
    let theirs: Vec<_> = theirs.values().filter(|tensor| !needs_data(&tensor.name)).collect();
    for tensor in &theirs {
        let Some((dtype, shape, bytes)) = ours.get(tensor.name.as_str()) else {
            panic!("{}: {} is missing", reference.output, tensor.name);
        };
        let what = format!("{}: {} on {}", reference.output, tensor.name, backend.name());
        assert_eq!((dtype, *shape), (&tensor.dtype.to_string(), tensor.shape.as_slice()), "{what}");
        assert!(**bytes == tensor.bytes, "{what}: other bytes");
    }
    assert_eq!(ours.len(), theirs.len(), "{}: tensors", reference.output);
    compare_config(reference, &plan, &checkpoint, &output);
}

fn compare_config(reference: &Reference, plan: &Plan, checkpoint: &Checkpoint, output: &Path) {
    let files = config::files(plan, checkpoint.config.as_ref());
    let ours = |name: &str| -> Value { serde_json::from_str(&files[name]).unwrap() };
    let mut quantization = ours(CONFIG_FILE)["quantization_config"].take();
    let mut expected = read_json(&output.join(CONFIG_FILE))["quantization_config"].take();
    match reference.dialect {
        Dialect::Modelopt => {
            let mut file = ours(QUANT_CONFIG_FILE);
            let mut expected_file = read_json(&output.join(QUANT_CONFIG_FILE));
            without_data(&mut expected);
            without_data(&mut expected_file);
            let asks_for_scales = &mut file["quantization"]["pre_quant_scale"];
            if *asks_for_scales == false {
                // ModelOpt asks for a tensor that it does not store.
                *asks_for_scales = true.into();
            }
            if file["quantization"]["pre_quant_scale"].is_null() {
                file["quantization"].as_object_mut().unwrap().remove("pre_quant_scale");
            }
            assert_eq!(file, expected_file, "{}", reference.output);
        }
        Dialect::ExecuTorch | Dialect::Q4gsw | Dialect::Onnx | Dialect::OnnxQdq => {
            unreachable!("no reference is of these")
        }
        Dialect::CompressedTensors => {
            // Patterns in the list are what the user wrote, and match what is named here.
            for config in [&mut quantization, &mut expected] {
                let ignore = config["ignore"].as_array_mut().unwrap();
                ignore.retain(|entry| !entry.as_str().unwrap().starts_with("re:"));
                ignore.sort_by_key(|entry| entry.as_str().unwrap().to_owned());
            }
            let one_shot = expected.as_object_mut().unwrap();
            one_shot.remove("sparsity_config");
            for group in expected["config_groups"].as_object_mut().unwrap().values_mut() {
                group["weights"]["observer"] = Value::Null;
            }
        }
    }
    // Names of groups, and their order, are free.
    for config in [&mut quantization, &mut expected] {
        if let Some(groups) = config.get_mut("config_groups") {
            let mut list: Vec<Value> = groups.as_object().unwrap().values().cloned().collect();
            list.sort_by_key(|group| group["targets"].to_string());
            *groups = list.into();
        }
    }
    assert_eq!(quantization, expected, "{}", reference.output);
}

/// Takes out what says that activations are quantized, which needs data.
fn without_data(config: &mut Value) {
    match config {
        Value::Object(map) => {
            let is_nvfp4 = map.get("weights").is_some_and(|weights| weights["num_bits"] == 4);
            if is_nvfp4 {
                map.remove("input_activations");
            }
            map.remove("kv_cache_scheme");
            map.values_mut().for_each(without_data);
            if map.get("kv_cache_quant_algo").is_some_and(Value::is_string) {
                map.insert("kv_cache_quant_algo".to_owned(), Value::Null);
            }
            if map.get("quant_algo").is_some_and(|algo| algo == "NVFP4") {
                map.insert("quant_algo".to_owned(), "W4A16_NVFP4".into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_data),
        _ => {}
    }
}

#[test]
fn every_reference_checkpoint_is_reproduced() {
    for reference in references() {
        compare(&reference, &Cpu);
    }
}

#[test]
fn every_reference_checkpoint_is_reproduced_on_every_gpu() {
    for gpu in common::gpus() {
        for reference in references() {
            compare(&reference, &gpu);
        }
    }
}
