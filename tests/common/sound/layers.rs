//! Quantized layers of any kind are read, verified, repaired and made float, or refused.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use quantscope::checkpoint::{Checkpoint, Dtype};
use quantscope::cpu::Cpu;
use quantscope::engine::{Progress, Resources, Run};
use quantscope::export::repair::repair;
use quantscope::export::verify::Opened;
use quantscope::export::{self, Options, dequantize};
use quantscope::plan::{Plan, Sharding};
use quantscope::quantized::{self, Outputs, Stated};

use super::case::{Case, folder};
use super::plans::{readable, sound};

struct NoProgress;

impl Progress for NoProgress {
    fn add(&self, _: u64) {}
}

/// Nobody stops it.
static NEVER: AtomicBool = AtomicBool::new(false);

const RESOURCES: Resources<'static> =
    Resources { backend: &Cpu, workers: 1, progress: &NoProgress, cancel: &NEVER };

/// Parts of quantized layers, and what configs and headers say of them.
pub fn any_quantized(bytes: &[u8]) {
    let Some(case) = Case::read(bytes) else { return };
    let folder = folder();
    let source = case.write(folder.path());
    let Ok(checkpoint) = Checkpoint::open(&source) else { return };
    readable(&checkpoint);
    let out = folder.path().join("out");
    read(&checkpoint, &out);
    let options = Options { out: &out, overwrite: true, strict: false, sync: false, resume: false };
    if repair(&source, &options, Sharding::AsSource, &RESOURCES, &|_, _| {}).is_ok() {
        let repaired = Opened::new(&out, None).map(|opened| opened.verify(&RESOURCES));
        // A sound checkpoint is left alone, so there need be nothing.
        let fails = matches!(repaired, Ok(Ok(verification)) if !verification.passed());
        assert!(!fails, "what was repaired does not pass");
    }
    nothing_left(folder.path());
}

/// Goes through all that is done with layers that are quantized already.
pub fn read(checkpoint: &Checkpoint, out: &Path) {
    let stated = Stated::of(checkpoint);
    let layers = quantized::find(checkpoint, None, stated.ignore_list(), stated.dialect);
    for layer in layers.iter().filter(|layer| layer.problem.is_none()) {
        let chunk =
            quantized::read_chunk(checkpoint, layer, 0..layer.lines_in(1).min(layer.lines()));
        let chunk = chunk.expect("a layer without a problem can be read");
        if let Some(chunk) = chunk {
            let _ = (chunk.is_sound(), chunk.health(), chunk.nan_codes());
        }
    }
    if let Ok(opened) = Opened::new(&checkpoint.path, None) {
        let _ = opened.verify(&RESOURCES);
    }
    let stored = quantized::plan(checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
    let _ = quantized::run(checkpoint, &layers, &stored, None, &RESOURCES);
    let floats = Outputs::Float(Dtype::BF16);
    let floats = quantized::plan(checkpoint, &layers, floats, Sharding::AsSource);
    if checkpoint.onnx.is_none() {
        sound(&floats);
    }
    let options = Options { out, overwrite: true, strict: false, sync: false, resume: false };
    if dequantize(checkpoint, &layers, &floats, &options, &RESOURCES).is_ok() {
        let opened = Checkpoint::open(out).expect("what is written can be opened");
        readable(&opened);
        layers.iter().for_each(|layer| finite(&opened, &layer.weight));
    }
    let _ = fs::remove_dir_all(out);
}

/// Whether a weight that was made of codes and scales has numbers only: whatever scales are, floats that
/// are none are refused.
fn finite(checkpoint: &Checkpoint, weight: &str) {
    let Some(tensor) = checkpoint.tensor(weight) else { return };
    let (Some(kind), width) = (tensor.float_kind(), tensor.unit_bytes() as usize) else { return };
    let mut bytes = vec![0; tensor.bytes as usize];
    checkpoint.read_at(tensor, &mut bytes, 0).expect("a tensor can be read");
    for element in bytes.chunks_exact(width) {
        let pattern = element.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte));
        assert!(kind.widen(pattern).is_finite(), "{weight} has {pattern:#x}");
    }
}

/// Writes what a plan says.
pub fn export(checkpoint: &Checkpoint, plan: &Plan, out: &Path) {
    let run = Run { checkpoint, plan, sink: None, resources: RESOURCES };
    let options = Options { out, overwrite: true, strict: false, sync: false, resume: false };
    if export::export(&run, &options, &|_, _| {}).is_ok() {
        readable(&Checkpoint::open(out).expect("what is written can be opened"));
    }
    let _ = fs::remove_dir_all(out);
    nothing_left(out.parent().expect("a place"));
}

/// Whether there is only what was there before.
fn nothing_left(folder: &Path) {
    let names =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = names.filter(|name| name != "src" && name != "out").collect();
    assert!(left.is_empty(), "{left:?} is left");
}
