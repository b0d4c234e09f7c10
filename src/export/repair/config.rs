//! The config files of a repaired checkpoint: as they were where they are true, and with as few
//! changes as make them so.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::ExportError;
use super::super::config::{index_file, set_tie, write_file};
use super::super::verify::Opened;
use super::quantization::{Facts, kept_keys};
use super::{Irreparable, NotRepaired, Repair};
use crate::checkpoint::{CONFIG_FILE, QUANTIZATION, python_json, read_small_file};
use crate::dialect::Dialect;
use crate::dialect::modelopt::{self, QUANT_CONFIG_FILE};
use crate::plan::Plan;

/// How much of the old description of the quantization stays.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    /// All.
    All,
    /// All but the list of what is not quantized.
    AllButList,
    /// What does not follow from the tensors.
    Rest,
}

/// Config files as they are to be written; `None` for those that are not.
#[derive(Default)]
struct Files {
    config: Option<Map<String, Value>>,
    file: Option<Value>,
    repairs: Vec<Repair>,
}

/// Writes them into a folder that has the weights already. Gives what had to be changed.
pub fn write(folder: &Path, opened: &Opened<'_>, plan: &Plan) -> Result<Vec<Repair>, NotRepaired> {
    if let Some((name, text)) = index_file(plan) {
        write_file(folder, name, &text)?;
    }
    let facts = Facts::new(opened, plan);
    let mut repairs = Vec::new();
    for keep in [Keep::All, Keep::AllButList, Keep::Rest] {
        // A list of layers has no exceptions: it is itself what has to change.
        let lists_layers = opened.stated.config.iter().chain(&opened.stated.file).any(|value| {
            let groups = value.get("config_groups").and_then(Value::as_object);
            value.get("quantized_layers").is_some() || groups.is_some_and(|groups| groups.len() > 1)
        });
        if keep == Keep::AllButList && lists_layers {
            continue;
        }
        let nothing_is_said = opened.stated.config.is_none() && opened.stated.file.is_none();
        if keep == Keep::Rest || nothing_is_said {
            refuse_what_only_the_config_knew(opened)?;
        }
        let files = files(opened, plan, &facts, keep);
        write_files(folder, opened, &files)?;
        repairs = files.repairs;
        let written = Opened::new(folder, None)?;
        let is_about_config = |name: &str| ["config", "ignore list"].contains(&name);
        if written.structure()?.iter().all(|check| check.passed || !is_about_config(check.name)) {
            break;
        }
    }
    Ok(repairs)
}

/// Some tensors only mean something with what a config says of them, and cannot be described anew.
fn refuse_what_only_the_config_knew(opened: &Opened<'_>) -> Result<(), NotRepaired> {
    const EXPLAINED: [&str; 2] = [".pre_quant_scale", ".weight_g_idx"];
    let checkpoint = &opened.checkpoint;
    let explained = |name: &str| EXPLAINED.iter().any(|ending| name.ends_with(ending));
    match checkpoint.tensors.iter().find(|tensor| explained(&tensor.name)) {
        Some(tensor) => Err(NotRepaired::Irreparable {
            path: checkpoint.path.clone(),
            problems: vec![Irreparable::MeaningLost { tensor: tensor.name.clone() }],
        }),
        None => Ok(()),
    }
}

fn files(opened: &Opened<'_>, plan: &Plan, facts: &Facts<'_>, keep: Keep) -> Files {
    const FILE_KEY: &str = "quantization";
    let stated = &opened.stated;
    let mut files = Files::default();
    let mut described = |old: &Option<Value>, new: Value, place, unread| match (
        old.as_ref().filter(|old| old.is_object()),
        keep,
    ) {
        (Some(old), Keep::All | Keep::AllButList) => old.clone(),
        (Some(old), Keep::Rest) => {
            if new != *old {
                files.repairs.push(Repair::Config { place, kept: kept_keys(Some(old)) });
            }
            new
        }
        (None, _) => {
            files.repairs.push(Repair::Missing { place, unread });
            new
        }
    };
    let has_config = opened.checkpoint.config.is_some();
    let mut config = has_config.then(|| {
        described(&stated.config, facts.config(), "quantization_config in config.json", None)
    });
    let mut file = (stated.dialect == Dialect::Modelopt)
        .then(|| described(&stated.file, facts.file(), QUANT_CONFIG_FILE, stated.unread.clone()));
    if keep == Keep::AllButList {
        let (list, added, removed) = facts.corrected(&stated.ignore);
        for (value, key) in [(&mut config, "ignore"), (&mut file, "exclude_modules")] {
            if let Some(value) = value {
                value[key] = json!(list);
            }
        }
        files.repairs.push(Repair::List { added, removed });
    }
    files.config = opened.checkpoint.config.as_ref().zip(config).map(|(old, quantization)| {
        // What is said inside moves to the top, where loaders look first.
        let mut json = match old.json.contains_key(QUANTIZATION) {
            true => old.json.clone(),
            false => old.without_quantization(),
        };
        if let Some(tied) = plan.tie_word_embeddings {
            set_tie(&mut json, tied);
        }
        json.insert(QUANTIZATION.to_owned(), quantization);
        json
    });
    files.file = file.map(|quantization| {
        let mut whole = old_file(opened).unwrap_or_else(|| modelopt::quant_config_file(&[], &[]));
        whole[FILE_KEY] = quantization;
        whole
    });
    files
}

/// ModelOpt's own file as a whole, if it is an object.
fn old_file(opened: &Opened<'_>) -> Option<Value> {
    let text = read_small_file(&opened.checkpoint.folder.join(QUANT_CONFIG_FILE)).ok()?;
    python_json::parse(&text).ok().filter(Value::is_object)
}

/// Writes both files; one that says what it said is carried byte for byte.
fn write_files(folder: &Path, opened: &Opened<'_>, files: &Files) -> Result<(), ExportError> {
    let old_config = opened.checkpoint.config.as_ref().map(|config| &config.json);
    let indent = match opened.stated.dialect {
        Dialect::Modelopt
        | Dialect::ExecuTorch
        | Dialect::Q4gsw
        | Dialect::Onnx
        | Dialect::OnnxQdq => "    ",
        Dialect::CompressedTensors => "  ",
    };
    if let Some(config) = &files.config {
        let unchanged = old_config == Some(config);
        let text = python_json::to_string_pretty(&Value::Object(config.clone()), indent);
        carry_or_write(folder, opened, CONFIG_FILE, unchanged, &text)?;
    }
    if let Some(file) = &files.file {
        let unchanged = old_file(opened).as_ref() == Some(file);
        let text = python_json::to_string_pretty(file, indent);
        carry_or_write(folder, opened, QUANT_CONFIG_FILE, unchanged, &text)?;
    }
    Ok(())
}

fn carry_or_write(
    folder: &Path,
    opened: &Opened<'_>,
    name: &'static str,
    unchanged: bool,
    text: &str,
) -> Result<(), ExportError> {
    if !unchanged {
        return write_file(folder, name, text);
    }
    let copied = std::fs::copy(opened.checkpoint.folder.join(name), folder.join(name));
    copied.map(drop).map_err(|source| ExportError::io("copy", name, source))
}
