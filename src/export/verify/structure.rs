//! What can be verified from headers and config.

use std::collections::HashSet;

use serde_json::Value;

use super::compare::source_weight;
use super::{Check, Opened, check};
use crate::checkpoint::index::INDEX_FILE;
use crate::checkpoint::{Checkpoint, Config, SINGLE_FILE, Tensor, python_json};
use crate::dialect::ExcludeList;
use crate::dialect::modelopt::QUANT_CONFIG_FILE;

const W4A16_NVFP4: &str = "W4A16_NVFP4";
use crate::model::{Role, is_quantizable, owner_of, role_of, split_experts};
use crate::plan::Coverage;
use crate::units::count;

/// All checks that need no weights.
pub fn checks(opened: &Opened<'_>) -> Vec<Check> {
    let checkpoint = &opened.checkpoint;
    let files = format!(
        "{} of {} tensors, none missing",
        count(checkpoint.files.len() as u64, "file"),
        checkpoint.tensors.len()
    );
    let broken = opened.layers.iter().filter_map(|layer| layer.problem.clone()).collect();
    let listed = ExcludeList::new(&ignore_list(checkpoint));
    let mut checks = vec![
        check("files", unloadable(checkpoint), files),
        check(
            "layers",
            broken,
            format!(
                "{} with codes, block scales and global scale",
                count(opened.layers.len() as u64, "layer")
            ),
        ),
        config(checkpoint),
        check("ignore list", ignore(opened, &listed), "names what is float and nothing else"),
        check("ties", ties(opened), "embedding and head agree with tie_word_embeddings"),
    ];
    if let Some(source) = opened.source {
        checks.push(complete(opened, source));
        checks.push(size(checkpoint, source));
    }
    checks
}

/// Loaders look for one file of a fixed name, or for an index.
fn unloadable(checkpoint: &Checkpoint) -> Vec<String> {
    let only = checkpoint.files.first().map_or("", |file| file.name.as_str());
    let found = checkpoint.sharded || checkpoint.path.is_file() || only == SINGLE_FILE;
    let problem = || format!("there is neither {SINGLE_FILE} nor {INDEX_FILE}, only {only}");
    if found { Vec::new() } else { vec![problem()] }
}

fn quantization(checkpoint: &Checkpoint) -> Option<&Value> {
    checkpoint.config.as_ref()?.json.get("quantization_config")
}

fn quant_file(checkpoint: &Checkpoint) -> Option<Value> {
    let text = std::fs::read_to_string(checkpoint.folder.join(QUANT_CONFIG_FILE)).ok()?;
    python_json::parse(&text).ok()?.get("quantization").cloned()
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The modules that the checkpoint says are not quantized.
pub fn ignore_list(checkpoint: &Checkpoint) -> Vec<String> {
    match quantization(checkpoint) {
        Some(config) => strings(config.get("ignore")),
        None => strings(quant_file(checkpoint).as_ref().and_then(|q| q.get("exclude_modules"))),
    }
}

fn config(checkpoint: &Checkpoint) -> Check {
    let mut problems = Vec::new();
    let (in_config, in_file) = (quantization(checkpoint), quant_file(checkpoint));
    if in_config.is_none() && in_file.is_none() {
        problems.push(format!(
            "neither config.json nor {QUANT_CONFIG_FILE} describes the quantization"
        ));
    }
    if checkpoint.config.is_some() && in_config.is_none() {
        problems.push("config.json has no quantization_config, where vLLM looks for it".to_owned());
    }
    for (file, value) in [("config.json", in_config), (QUANT_CONFIG_FILE, in_file.as_ref())] {
        let algo = value.and_then(|value| value.get("quant_algo")?.as_str());
        if value.is_some() && algo != Some(W4A16_NVFP4) {
            let algo = algo.unwrap_or("none");
            problems.push(format!("{file} says quant_algo {algo}, the layers are {W4A16_NVFP4}"));
        }
    }
    if let (Some(config), Some(file)) = (in_config, in_file.as_ref())
        && strings(config.get("ignore")) != strings(file.get("exclude_modules"))
    {
        problems.push(format!("config.json and {QUANT_CONFIG_FILE} list different modules"));
    }
    check(
        "config",
        problems,
        format!(
            "{W4A16_NVFP4} in {}",
            if in_config.is_some() { "config.json" } else { QUANT_CONFIG_FILE }
        ),
    )
}

fn is_float_matrix(tensor: &Tensor) -> bool {
    is_quantizable(tensor, role_of(&tensor.name, &tensor.shape))
}

fn ignore(opened: &Opened<'_>, listed: &ExcludeList) -> Vec<String> {
    let packed = opened.layers.iter().filter(|layer| listed.contains(&layer.module));
    let mut problems: Vec<String> =
        packed.map(|layer| format!("{} is packed, but listed as float", layer.module)).collect();
    let float = opened
        .checkpoint
        .tensors
        .iter()
        .filter(|tensor| is_float_matrix(tensor) && !listed.contains(owner_of(&tensor.name)));
    problems
        .extend(float.map(|tensor| format!("{} is float, but not listed", owner_of(&tensor.name))));
    problems
}

/// A table that the head reads too must not be packed, and a packed one must have a head beside it.
fn ties(opened: &Opened<'_>) -> Vec<String> {
    let tied = opened.checkpoint.config.as_ref().and_then(Config::tie_word_embeddings);
    let has_head =
        opened.checkpoint.tensors.iter().any(|t| role_of(&t.name, &t.shape) == Role::Head);
    let packed_as = |role| {
        opened
            .layers
            .iter()
            .find(move |layer| role_of(&format!("{}.weight", layer.module), &[1, 1]) == role)
    };
    let mut problems = Vec::new();
    for packed in [packed_as(Role::Embedding), packed_as(Role::Head)].into_iter().flatten() {
        if tied == Some(true) {
            problems.push(format!("{} is packed while tie_word_embeddings is true", packed.module));
        } else if !has_head && tied != Some(false) {
            problems.push(format!("{} is packed, and there is no head beside it", packed.module));
        }
    }
    problems
}

/// Nothing of the source may be missing or in another form, and nothing may come from nowhere.
fn complete(opened: &Opened<'_>, source: &Checkpoint) -> Check {
    let checkpoint = &opened.checkpoint;
    // A tensor of the source is there by its own name, or in parts.
    let is_there = |tensor: &&Tensor| {
        let parts = split_experts(source, tensor);
        let in_parts =
            !parts.is_empty() && parts.iter().all(|part| checkpoint.tensor(&part.name).is_some());
        in_parts || checkpoint.tensor(&tensor.name).is_some()
    };
    let lost = source.tensors.iter().filter(|tensor| !is_there(tensor));
    let mut problems: Vec<String> =
        lost.map(|tensor| format!("{} of the source is missing", tensor.name)).collect();

    let without = opened
        .layers
        .iter()
        .filter(|layer| layer.problem.is_none() && source_weight(opened, layer).is_none());
    problems.extend(
        without.map(|layer| format!("the source has no float weight for {}", layer.module)),
    );

    let parts: HashSet<usize> = opened
        .layers
        .iter()
        .flat_map(|layer| [layer.codes, layer.scales, layer.global_scale])
        .flatten()
        .collect();
    let kept = checkpoint.tensors.iter().enumerate().filter(|(i, _)| !parts.contains(i));
    problems.extend(kept.filter_map(|(_, tensor)| match opened.origin(&tensor.name) {
        None => Some(format!("{} is not in the source", tensor.name)),
        Some(other) if (other.dtype, &other.shape) != (tensor.dtype, &tensor.shape) => {
            let (dtype, shape) = (tensor.dtype, &tensor.shape);
            let (was, had) = (other.dtype, &other.shape);
            Some(format!("{} is {dtype} {shape:?}, but {was} {had:?} in the source", tensor.name))
        }
        Some(_) => None,
    }));
    check("complete", problems, format!("all {} tensors of the source", source.tensors.len()))
}

fn size(checkpoint: &Checkpoint, source: &Checkpoint) -> Check {
    let (after, before) = (checkpoint.file_bytes(), source.file_bytes());
    let percent = 100.0 * after as f64 / before as f64;
    let detail = format!("{before} → {after} bytes, {percent:.1} %");
    let problems = if after < before { Vec::new() } else { vec![format!("not smaller: {detail}")] };
    check("size", problems, detail)
}

/// How much of the float matrices of the source is quantized, counted as 16-bit floats where the
/// source is not at hand.
pub fn coverage(opened: &Opened<'_>) -> Coverage {
    let mut coverage = Coverage::default();
    let mut add = |quantized: bool, bytes: u64| {
        coverage.quantizable_tensors += 1;
        coverage.quantizable_bytes += bytes;
        coverage.quantized_tensors += u64::from(quantized);
        coverage.quantized_bytes += if quantized { bytes } else { 0 };
    };
    for layer in &opened.layers {
        let Some(codes) = layer.codes.map(|i| &opened.checkpoint.tensors[i]) else { continue };
        let in_source = opened.origin(&codes.name);
        add(true, in_source.map_or(codes.bytes * 4, |tensor| tensor.bytes));
    }
    for tensor in &opened.checkpoint.tensors {
        if is_float_matrix(tensor) {
            add(false, tensor.bytes);
        }
    }
    coverage
}
