//! The config files of an export.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::ExportError;
use crate::checkpoint::index::{self, INDEX_FILE};
use crate::checkpoint::{CONFIG_FILE, Config, QUANTIZATION, SINGLE_FILE, python_json};
use crate::dialect::modelopt::{self, QUANT_CONFIG_FILE};
use crate::dialect::q4gsw::{self, MANIFEST_FILE};
use crate::dialect::{Dialect, compressed_tensors, executorch};
use crate::plan::{Placed, Plan};

/// The key that says whether embedding and head are one.
const TIE: &str = "tie_word_embeddings";

/// Names and texts of the config files of a plan, as an export writes them.
pub fn files(plan: &Plan, source: Option<&Config>) -> BTreeMap<&'static str, String> {
    let mut files = BTreeMap::new();
    let layers = plan.layers();
    // Indented as the tools do it.
    let (quantization, indent) = match plan.dialect {
        Dialect::Modelopt => {
            let indent = "    ";
            let file = modelopt::quant_config_file(&layers, &plan.exclude);
            files.insert(QUANT_CONFIG_FILE, python_json::to_string_pretty(&file, indent));
            (modelopt::quantization_config(&layers, &plan.exclude), indent)
        }
        Dialect::Onnx | Dialect::OnnxQdq => return files,
        Dialect::ExecuTorch => {
            let scales = (plan.search, plan.scale_dtype);
            (executorch::quantization_config(&layers, &plan.exclude, scales), "  ")
        }
        Dialect::Q4gsw => {
            let manifest = q4gsw::manifest(plan.packed());
            files.insert(MANIFEST_FILE, python_json::to_string_pretty(&manifest, "  "));
            (q4gsw::quantization_config(&plan.exclude), "  ")
        }
        Dialect::CompressedTensors => {
            (compressed_tensors::quantization_config(&layers, &plan.exclude), "  ")
        }
    };
    if let Some(config) = source {
        let mut json = config.json.clone();
        if let Some(tied) = plan.tie_word_embeddings {
            set_tie(&mut json, tied);
        }
        json.insert(QUANTIZATION.to_owned(), quantization);
        files.insert(CONFIG_FILE, python_json::to_string_pretty(&Value::Object(json), indent));
    }
    files.extend(index_file(plan));
    files
}

/// The index, if there is more than the one file that is found without.
pub(super) fn index_file(plan: &Plan) -> Option<(&'static str, String)> {
    let needs_one = plan.files.iter().any(|file| file.name != SINGLE_FILE);
    needs_one.then(|| {
        let names = plan.files.iter().flat_map(|file| {
            let name = |tensor: &Placed| tensor.of(&plan.entries).name.clone();
            file.tensors.iter().map(move |tensor| (name(tensor), file.name.clone()))
        });
        let data_bytes = plan.files.iter().map(|file| file.data_bytes()).sum();
        (INDEX_FILE, index::encode(&names.collect(), data_bytes))
    })
}

/// Writes the config files of a checkpoint that is no longer quantized into a folder.
pub fn write_float(folder: &Path, plan: &Plan, source: Option<&Config>) -> Result<(), ExportError> {
    let config = source.map(|config| {
        let json = config.without_quantization();
        (CONFIG_FILE, python_json::to_string_pretty(&Value::Object(json), "  "))
    });
    for (name, text) in config.into_iter().chain(index_file(plan)) {
        write_file(folder, name, &text)?;
    }
    Ok(())
}

/// Writes a text file into a folder.
pub(super) fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), ExportError> {
    std::fs::write(folder.join(name), text).map_err(|source| ExportError::io("write", name, source))
}

/// Sets the tie at the top, and wherever else the config already speaks of it.
pub(super) fn set_tie(json: &mut serde_json::Map<String, Value>, tied: bool) {
    json.insert(TIE.to_owned(), Value::Bool(tied));
    for inner in json.values_mut().filter_map(Value::as_object_mut) {
        if let Some(value) = inner.get_mut(TIE) {
            *value = Value::Bool(tied);
        }
    }
}

/// What is not as it was written of the config files in a folder.
pub fn difference(folder: &Path, plan: &Plan, source: Option<&Config>) -> Option<String> {
    let is_other = |(name, text): &(&str, String)| {
        std::fs::read(folder.join(name)).ok().as_deref() != Some(text.as_bytes())
    };
    let other = files(plan, source).into_iter().find(is_other);
    other.map(|(name, _)| format!("{name} is missing, or another one"))
}

/// Writes the config files into a folder.
pub fn write(folder: &Path, plan: &Plan, source: Option<&Config>) -> Result<(), ExportError> {
    for (name, text) in files(plan, source) {
        write_file(folder, name, &text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untying_reaches_nested_configs_that_speak_of_it() {
        let mut json = serde_json::json!({
            "text_config": { "tie_word_embeddings": true, "a": 1 }, "vision_config": { "b": 2 }
        });
        set_tie(json.as_object_mut().unwrap(), false);
        assert_eq!(
            json,
            serde_json::json!({
                "text_config": { "tie_word_embeddings": false, "a": 1 },
                "vision_config": { "b": 2 }, "tie_word_embeddings": false
            })
        );
    }
}
