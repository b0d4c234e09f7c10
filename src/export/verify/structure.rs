//! What can be verified from headers and config.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::compare::source_weight;
use super::experts::experts;
use super::{Check, Opened, check};
use crate::checkpoint::index::INDEX_FILE;
use crate::checkpoint::{Checkpoint, Config, SINGLE_FILE, Tensor};
use crate::dialect::Dialect;
use crate::dialect::modelopt::QUANT_CONFIG_FILE;
use crate::dialect::q4gsw::{self, MANIFEST_FILE};
use crate::format::Format;
use crate::format::fp8::TILE_LEN;
use crate::model::{FusedExperts, Role, is_quantizable, owner_of, role_of, split_experts};
use crate::plan::Coverage;
use crate::quantized::{self, Layer};
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
    let mut checks = vec![
        check("files", unloadable(checkpoint), files),
        check(
            "layers",
            broken,
            format!("{} with codes and scales", count(opened.layers.len() as u64, "layer")),
        ),
        config(opened),
        check("ignore list", ignore(opened), "names what is float and nothing else"),
        check("ties", ties(opened), "embedding and head agree with tie_word_embeddings"),
    ];
    checks.extend(experts(opened));
    if let Some(source) = opened.source {
        checks.push(complete(opened, source));
        checks.push(size(opened, source));
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

fn config(opened: &Opened<'_>) -> Check {
    let (stated, checkpoint) = (&opened.stated, &opened.checkpoint);
    let mut problems = Vec::from_iter(stated.unread.clone());
    if stated.config.is_none() && stated.file.is_none() && stated.unread.is_none() {
        problems.push(match stated.dialect {
            Dialect::Modelopt => {
                format!("neither config.json nor {QUANT_CONFIG_FILE} describes the quantization")
            }
            Dialect::Q4gsw => format!("there is no {MANIFEST_FILE}"),
            Dialect::CompressedTensors | Dialect::ExecuTorch | Dialect::Onnx | Dialect::OnnxQdq => {
                "config.json does not describe the quantization".to_owned()
            }
        });
    } else if checkpoint.config.is_some() && stated.config.is_none() {
        problems
            .push("config.json has no quantization_config, where loaders look for it".to_owned());
    }
    if let (Some(config), Some(file)) = (&stated.config, &stated.file) {
        let algo = |value: &Value| value.get("quant_algo").cloned();
        if algo(config) != algo(file) {
            let said = |value: &Value| algo(value).map_or("none".to_owned(), |v| v.to_string());
            let (config, file) = (said(config), said(file));
            problems.push(format!("config.json says {config}, {QUANT_CONFIG_FILE} says {file}"));
        }
        let listed =
            |value: &Value, key| value.get(key).filter(|list| **list != json!([])).cloned();
        if listed(config, "ignore") != listed(file, "exclude_modules") {
            problems.push(format!("config.json and {QUANT_CONFIG_FILE} list different modules"));
        }
    }
    problems.extend(manifest_problem(opened));
    // What contradicts itself is not compared with the layers as well.
    let says_one_thing = problems.is_empty();
    for layer in opened.layers.iter().filter(|_| says_one_thing) {
        let stored = layer.format.map_or("no known format", Format::name);
        match (stated.expects(&layer.module), layer.format) {
            (None, _) => problems.push(format!("{} is packed, but in no group", layer.module)),
            (Some(None), _) => {
                problems.push(format!("{} is said to be in no known format", layer.module));
            }
            (Some(Some(said)), Some(format)) if !same_storage(said, format, layer) => {
                problems.push(format!("{} is said to be {said}, and is {stored}", layer.module));
            }
            _ => {}
        }
    }
    let formats: BTreeSet<Format> = opened.layers.iter().filter_map(|l| l.format).collect();
    let names: Vec<&str> = formats.into_iter().map(Format::name).collect();
    let place = match stated.dialect {
        _ if stated.config.is_some() => "config.json",
        Dialect::Q4gsw => MANIFEST_FILE,
        _ => QUANT_CONFIG_FILE,
    };
    check("config", problems, format!("{} in {place}", names.join(", ")))
}

/// Where packed constants have a manifest, it says what headers say.
fn manifest_problem(opened: &Opened<'_>) -> Option<String> {
    if opened.stated.dialect != Dialect::Q4gsw {
        return None;
    }
    let Some(said) = opened.stated.file.as_ref().and_then(|file| file.get("weights")) else {
        return Some(format!("there is no {MANIFEST_FILE}, or no weights in it"));
    };
    let stated = quantized::stated_packed(&opened.checkpoint);
    let sound = stated.into_iter().filter_map(|(name, packed)| Some((name, packed.ok()?)));
    let expected = &q4gsw::manifest(sound)["weights"];
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flat_map(|weights| weights.keys().cloned()).collect()
    };
    let all = names(said).into_iter().chain(names(expected));
    let differs = all.into_iter().find(|name| said.get(name) != expected.get(name))?;
    Some(format!("{MANIFEST_FILE} and the headers do not say the same of {differs}"))
}

/// Whether a format that is stated is the one that was found. A row that is one group long looks like
/// one with a scale of its own, and a matrix of one tile like one with a scale for all.
pub fn same_storage(stated: Format, found: Format, layer: &Layer) -> bool {
    let columns = layer.shape.last().copied().unwrap_or(0);
    let is_one_tile = layer.shape.iter().all(|length| *length <= TILE_LEN as u64);
    let as_seen = |format| match format {
        Format::Int { bits, group: Some(group), symmetric } if columns <= u64::from(group) => {
            Format::Int { bits, group: None, symmetric }
        }
        Format::Fp8 | Format::Fp8Block if layer.shape.first() == Some(&1) => Format::Fp8Channel,
        Format::Fp8Block if is_one_tile => Format::Fp8,
        other => other,
    };
    as_seen(stated) == as_seen(found)
}

/// The float matrices that are no parts of layers.
fn float_matrices<'a>(opened: &'a Opened<'_>) -> impl Iterator<Item = &'a Tensor> {
    let parts = parts(opened);
    let others = opened.checkpoint.tensors.iter().enumerate();
    let others = others.filter(move |(i, _)| !parts.contains(i)).map(|(_, tensor)| tensor);
    others.filter(|tensor| is_quantizable(tensor, role_of(&tensor.name, &tensor.shape)))
}

/// Indices of all tensors that are parts of layers.
fn parts(opened: &Opened<'_>) -> HashSet<usize> {
    opened.layers.iter().flat_map(|layer| layer.parts.all()).collect()
}

fn ignore(opened: &Opened<'_>) -> Vec<String> {
    let stated = &opened.stated;
    let packed = opened.layers.iter().filter(|layer| stated.ignores(&layer.module));
    let mut problems: Vec<String> =
        packed.map(|layer| format!("{} is packed, but listed as float", layer.module)).collect();
    let nothing_is_said = stated.config.is_none() && stated.file.is_none();
    let float = float_matrices(opened).filter(|tensor| {
        let module = owner_of(&tensor.name);
        let expected = stated.expects(module).is_some() || nothing_is_said;
        let expected = expected && stated.foreign.is_none();
        expected && !stated.ignores(module)
    });
    problems
        .extend(float.map(|tensor| format!("{} is float, but not listed", owner_of(&tensor.name))));

    let head = |module: &str| role_of(&format!("{module}.weight"), &[1, 1]) == Role::Head;
    let packed_head = opened.layers.iter().any(|layer| head(&layer.module));
    let is_compressed = stated.dialect == Dialect::CompressedTensors && stated.foreign.is_none();
    let needs_head = is_compressed && stated.config.is_some();
    if needs_head && !packed_head && !stated.ignores("lm_head") {
        problems.push("lm_head is not listed, and loaders expect it packed then".to_owned());
    }
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
    if opened.stated.dialect.shares_tables() {
        return problems;
    }
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
    let stored_for: HashSet<&str> =
        opened.layers.iter().map(|layer| layer.weight.as_str()).collect();
    let has = |name: &str| checkpoint.tensor(name).is_some() || stored_for.contains(name);
    // A tensor of the source is there by its own name, or in parts.
    let is_there = |tensor: &&Tensor| {
        let parts = split_experts(source, tensor, FusedExperts::Split);
        let in_parts = !parts.is_empty() && parts.iter().all(|part| has(&part.name));
        in_parts || has(&tensor.name)
    };
    let lost = source.tensors.iter().filter(|tensor| !is_there(tensor));
    let mut problems: Vec<String> =
        lost.map(|tensor| format!("{} of the source is missing", tensor.name)).collect();

    let without = opened
        .layers
        .iter()
        .filter(|layer| layer.problem.is_none() && layer.altered_by.is_none())
        .filter(|layer| source_weight(opened, layer).is_none());
    problems.extend(
        without.map(|layer| {
            format!("the source has no float weight of the shape of {}", layer.module)
        }),
    );

    let parts = parts(opened);
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

/// Whether the files are smaller than those of the source. They may be larger where a weight is there
/// twice: quantized, and as floats for whom that is not to be.
pub fn size(opened: &Opened<'_>, source: &Checkpoint) -> Check {
    let checkpoint = &opened.checkpoint;
    let (after, before) = (checkpoint.file_bytes(), source.file_bytes());
    let percent = 100.0 * after as f64 / before as f64;
    let twice = opened.layers.iter().find(|layer| {
        let stored = checkpoint.tensor(&layer.weight);
        stored.is_some_and(|tensor| tensor.float_kind().is_some())
    });
    let also = twice.map_or_else(String::new, |layer| format!(", {} as floats too", layer.weight));
    let detail = format!("{before} → {after} bytes, {percent:.1} %{also}");
    let is_smaller = after < before || twice.is_some();
    let problems = if is_smaller { Vec::new() } else { vec![format!("not smaller: {detail}")] };
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
    let mut counted = HashSet::new();
    for layer in &opened.layers {
        let Some(codes) = layer.codes(&opened.checkpoint) else { continue };
        // A head without a tensor of its own is the table once more.
        let is_own = opened.source.is_some_and(|source| source.tensor(&layer.weight).is_some());
        let reads_table = layer.packed_as.is_some_and(|packed| packed.reads_table);
        let is_again = !counted.insert((codes.file, codes.offset)) || reads_table;
        if is_again && !is_own {
            continue;
        }
        let in_source = opened.origin(&layer.weight);
        let length = layer.shape.iter().fold(1u64, |all, length| all.saturating_mul(*length));
        let float_bytes =
            if layer.shape.is_empty() { codes.bytes } else { length.saturating_mul(2) };
        add(true, in_source.map_or(float_bytes, |tensor| tensor.bytes));
    }
    for tensor in float_matrices(opened) {
        add(false, tensor.bytes);
    }
    coverage
}
