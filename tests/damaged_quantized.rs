//! Quantized checkpoints with a part missing, renamed, of another shape or type, or of other bytes:
//! every mode ends in a result or an error, never in a panic, and leaves nothing behind.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::{
    Place, Random, Stored, config, language_model, read_folder, read_json, run, write_single,
};
use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::engine::{Progress, Resources};
use quantscope::export::repair::repair;
use quantscope::export::verify::Opened;
use quantscope::export::{Options, dequantize};
use quantscope::plan::Sharding;
use quantscope::quantized::{self, Outputs, Stated};
use safetensors::Dtype;
use serde_json::{Value, json};

/// Changes of each checkpoint.
const ROUNDS: usize = 25;

const EXPORTS: [(&str, &str); 8] = [
    ("nvfp4", "modelopt"),
    ("int4-g128", "modelopt"),
    ("fp8-block", "modelopt"),
    ("mxfp8", "modelopt"),
    ("nvfp4", "compressed-tensors"),
    ("int4-asym-g32", "compressed-tensors"),
    ("int8", "compressed-tensors"),
    ("fp8", "compressed-tensors"),
];

struct NoProgress;

impl Progress for NoProgress {
    fn add(&self, _: u64) {}
}

/// Changes one tensor; gives what it did.
fn damage(tensors: &mut Vec<Stored>, random: &mut Random) -> String {
    let types = [
        Dtype::U8,
        Dtype::I8,
        Dtype::F8_E4M3,
        Dtype::BF16,
        Dtype::F32,
        Dtype::I32,
        Dtype::I64,
        Dtype::F64,
    ];
    let i = random.below(tensors.len());
    let name = tensors[i].name.clone();
    match random.below(6) {
        0 => {
            tensors.remove(i);
            format!("{name} removed")
        }
        1 => {
            let to = name.replace("weight_", "weight_of_").replace(".weight", ".weight_scale");
            tensors.retain(|tensor| tensor.name != to);
            if let Some(tensor) = tensors.iter_mut().find(|tensor| tensor.name == name) {
                tensor.name = to.clone();
            }
            format!("{name} is called {to}")
        }
        // Another shape or type of the same number of bytes.
        2 | 3 => {
            let bytes = tensors[i].bytes.len() as u64;
            let dtype = types[random.below(types.len())];
            let width = dtype.bitsize() as u64 / 8;
            if !bytes.is_multiple_of(width) {
                return damage(tensors, random);
            }
            let count = bytes / width;
            let rows = [1, 2, 3, 8, 16, count][random.below(6)];
            let shape = match random.below(4) {
                0 => vec![count],
                1 if rows > 0 && count.is_multiple_of(rows) => vec![1, rows, count / rows],
                _ if rows > 0 && count.is_multiple_of(rows) => vec![rows, count / rows],
                _ => vec![count, 1],
            };
            let told = format!("{name} is {dtype} {shape:?}");
            (tensors[i].dtype, tensors[i].shape) = (dtype, shape);
            told
        }
        4 => {
            tensors[i].shape = vec![0, 16];
            tensors[i].bytes.clear();
            format!("{name} is empty")
        }
        _ => {
            let random_byte = |_: &u8| random.bits() as u8;
            tensors[i].bytes = tensors[i].bytes.iter().map(random_byte).collect();
            format!("{name} is noise")
        }
    }
}

/// Goes through every mode. What comes out does not matter here.
fn use_it(folder: &Path, source: &Checkpoint, out: &Path) {
    let cancel = AtomicBool::new(false);
    let resources = Resources { backend: &Cpu, workers: 1, progress: &NoProgress, cancel: &cancel };
    let options = Options { out, overwrite: true, strict: false, sync: false, resume: false };
    let Ok(checkpoint) = Checkpoint::open(folder) else { return };
    for source in [None, Some(source)] {
        if let Ok(opened) = Opened::new(folder, source) {
            let _ = opened.verify(&resources);
        }
    }
    let stated = Stated::of(&checkpoint);
    let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
    let stored = quantized::plan(&checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
    let _ = quantized::run(&checkpoint, &layers, &stored, None, &resources);
    let floats =
        quantized::plan(&checkpoint, &layers, Outputs::Float(Dtype::BF16), Sharding::AsSource);
    let _ = dequantize(&checkpoint, &layers, &floats, &options, &resources);
    let _ = std::fs::remove_dir_all(out);
    let _ = repair(folder, &options, Sharding::AsSource, &resources, &|_, _| {});
    let _ = std::fs::remove_dir_all(out);
}

fn damaged_in_every_way(place: &Place, sound: &[Stored], config: &Value) {
    let source = Checkpoint::open(&place.src()).unwrap();
    let random = &mut Random(17);
    for _ in 0..ROUNDS {
        let mut tensors = sound.to_vec();
        let mut told = Vec::new();
        for _ in 0..=random.below(2) {
            told.push(damage(&mut tensors, random));
        }
        let folder = place.path("damaged");
        write_single(&folder, &tensors, config);
        let survived = std::panic::catch_unwind(|| use_it(&folder, &source, &place.path("result")));
        assert!(survived.is_ok(), "{}", told.join(", "));
        let left = place.listing().into_iter().filter(|name| name.starts_with(".quantscope"));
        assert_eq!(left.count(), 0, "{}", told.join(", "));
    }
}

#[test]
fn exports() {
    for (format, dialect) in EXPORTS {
        let wide = language_model(Dtype::BF16, 1).into_iter().map(|t| match t.shape[..] {
            [rows, columns] => Stored::weights(&t.name, t.dtype, &[rows, 2 * columns]),
            _ => t,
        });
        let place = Place::empty();
        write_single(&place.src(), &wide.collect::<Vec<_>>(), &config(false));
        let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
        run([&source, "--format", format, "--export", dialect, "--out", &out]).ok();
        let sound: Vec<Stored> = read_folder(&place.out()).into_values().collect();
        damaged_in_every_way(&place, &sound, &read_json(&place.out().join("config.json")));
    }
}

#[test]
fn fused_experts_of_both_kinds() {
    let fused = common::data("modelopt/e2e/gptoss_w4a16nvfp4/out");
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let sound: Vec<Stored> = read_folder(&fused).into_values().collect();
    damaged_in_every_way(&place, &sound, &read_json(&fused.join("config.json")));

    let name = "model.layers.0.mlp.experts.down_proj";
    let mut sound = language_model(Dtype::BF16, 1);
    let of = |ending: &str, shape: &[u64]| {
        let bytes = vec![0x77; shape.iter().product::<u64>() as usize];
        Stored::new(&format!("{name}{ending}"), Dtype::U8, shape, bytes)
    };
    sound.extend([of("_blocks", &[2, 8, 2, 16]), of("_scales", &[2, 8, 2])]);
    let config = json!({
        "model_type": "gpt_oss", "hidden_size": 64,
        "quantization_config": { "quant_method": "mxfp4" },
    });
    damaged_in_every_way(&place, &sound, &config);
}
