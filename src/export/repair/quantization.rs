//! What config files should say of a quantized checkpoint, with what the old ones say besides.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::verify::{Opened, same_storage};
use crate::checkpoint::Checkpoint;
use crate::dialect::{Dialect, compressed_tensors, modelopt};
use crate::format::Format;
use crate::model::{Role, is_quantizable, module_of, owner_of, role_of, ties};
use crate::plan::{Plan, is_packed_lookalike};
use crate::quantized::{IgnoreList, Layer, format_of_group};

/// Keys whose values follow from the tensors. All others are kept from the old config.
const TOLD: [&str; 8] = [
    "config_groups",
    "quantized_layers",
    "format",
    "ignore",
    "exclude_modules",
    "quant_algo",
    "group_size",
    "quant_method",
];

/// How ModelOpt describes an 8-bit cache.
fn cache_scheme() -> Value {
    json!({ "dynamic": false, "num_bits": 8, "type": "float" })
}

/// What is stored, as configs describe it.
pub struct Facts<'a> {
    opened: &'a Opened<'a>,
    /// The quantized modules.
    pub layers: Vec<(String, Format)>,
    /// Modules that hold a float matrix, as the dialect's functions want them.
    kept: Vec<(String, Role)>,
}

impl<'a> Facts<'a> {
    /// Those of what a plan writes.
    pub fn new(opened: &'a Opened<'a>, plan: &Plan) -> Self {
        // Where rows are as long as a group, only the config knows which of the two was meant.
        let by_module: HashMap<&str, &Layer> =
            opened.layers.iter().map(|layer| (layer.module.as_str(), layer)).collect();
        let said = |(module, found): (String, Format)| match (
            opened.stated.expects(&module),
            by_module.get(module.as_str()),
        ) {
            (Some(Some(said)), Some(layer)) if same_storage(said, found, layer) => (module, said),
            _ => (module, found),
        };
        let mut kept = Vec::new();
        for entry in plan.entries.iter().filter(|entry| entry.format().is_none()) {
            let tensor = &entry.member.tensor;
            if is_quantizable(tensor, entry.member.role)
                || is_packed_lookalike(tensor.dtype, &tensor.name, &tensor.shape)
            {
                let role = role_of(&tensor.name, &tensor.shape);
                kept.push((owner_of(&tensor.name).to_owned(), role));
            }
        }
        let members: Vec<_> = plan.entries.iter().map(|entry| entry.member.clone()).collect();
        if let ties::Tie::HeadAbsent { head_name, .. } = ties::find(&opened.checkpoint, &members) {
            kept.push((module_of(&head_name).to_owned(), Role::Head));
        }
        kept.sort();
        kept.dedup();
        Self { opened, layers: plan.layers().into_iter().map(said).collect(), kept }
    }

    fn checkpoint(&self) -> &Checkpoint {
        &self.opened.checkpoint
    }

    /// The list of what is not quantized, as an export writes it.
    pub fn ignore(&self) -> Vec<String> {
        self.ignore_beside(&[])
    }

    /// What such a list needs besides entries that it has.
    fn ignore_beside(&self, entries: &[String]) -> Vec<String> {
        let dialect = self.opened.stated.dialect;
        let list = IgnoreList::new(dialect, entries);
        let quantized: Vec<&str> = self.layers.iter().map(|(module, _)| module.as_str()).collect();
        let kept = self.kept.iter().filter(|(module, _)| !list.contains(module));
        let needed = dialect.exclude(&kept.cloned().collect::<Vec<_>>(), &quantized);
        needed.into_iter().filter(|entry| !list.contains(entry)).collect()
    }

    /// A list with as few changes as make it true: the new one, what was added and what removed.
    pub fn corrected(&self, old: &[String]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let dialect = self.opened.stated.dialect;
        let names_packed = |entry: &&String| {
            let list = IgnoreList::new(dialect, std::slice::from_ref(entry));
            self.layers.iter().any(|(module, _)| list.contains(module))
        };
        let (removed, mut list): (Vec<String>, Vec<String>) =
            old.iter().cloned().partition(|entry| names_packed(&entry));
        let added = self.ignore_beside(&list);
        list.extend(added.iter().cloned());
        list.sort();
        list.dedup();
        (list, added, removed)
    }

    /// The value of `quantization_config` in `config.json`.
    pub fn config(&self) -> Value {
        let old = self.opened.stated.config.as_ref();
        let ignore = self.ignore();
        let mut config = match self.opened.stated.dialect {
            Dialect::Modelopt
            | Dialect::ExecuTorch
            | Dialect::Q4gsw
            | Dialect::Onnx
            | Dialect::OnnxQdq => {
                let mut config = modelopt::quantization_config(&self.layers, &ignore);
                self.tell_calibrated(&mut config);
                if let Some(scheme) = self.cache().0 {
                    config["kv_cache_scheme"] = scheme;
                }
                config
            }
            Dialect::CompressedTensors => {
                let mut config = compressed_tensors::quantization_config(&self.layers, &ignore);
                self.keep_groups(&mut config);
                config
            }
        };
        keep(&mut config, old);
        config
    }

    /// The value of `quantization` in ModelOpt's own file.
    pub fn file(&self) -> Value {
        let file = modelopt::quant_config_file(&self.layers, &self.ignore());
        let mut quantization = file.get("quantization").cloned().unwrap_or_default();
        self.tell_calibrated(&mut quantization);
        if let Some(algo) = self.cache().1 {
            quantization["kv_cache_quant_algo"] = algo;
        }
        keep(&mut quantization, self.opened.stated.file.as_ref());
        quantization
    }

    /// How the cache is quantized, as both files say it: from either, or from what is stored.
    fn cache(&self) -> (Option<Value>, Option<Value>) {
        let stated = &self.opened.stated;
        let of = |value: &Option<Value>, key: &str| {
            value
                .as_ref()
                .and_then(|value| value.get(key))
                .filter(|value| !value.is_null())
                .cloned()
        };
        let (scheme, algo) =
            (of(&stated.config, "kv_cache_scheme"), of(&stated.file, "kv_cache_quant_algo"));
        let scaled = self.checkpoint().tensors.iter().any(|t| t.name.ends_with(".k_scale"));
        match (scheme, algo) {
            (None, None) if scaled => (Some(cache_scheme()), Some("FP8".into())),
            (None, Some(algo)) if algo == "FP8" => (Some(cache_scheme()), Some(algo)),
            (Some(scheme), None) if scheme == cache_scheme() => (Some(scheme), Some("FP8".into())),
            both => both,
        }
    }

    /// Layers of NVFP4 for which scales of activations are stored have another name in ModelOpt.
    fn tell_calibrated(&self, config: &mut Value) {
        let mut nvfp4 =
            self.layers.iter().filter(|(_, format)| *format == Format::Nvfp4).peekable();
        let scaled = |(module, _): &(String, Format)| {
            self.checkpoint().tensor(&format!("{module}.input_scale")).is_some()
        };
        if nvfp4.peek().is_none() || !nvfp4.all(scaled) {
            return;
        }
        let rename = |value: &mut Value| {
            if let Some(algo) = value.get_mut("quant_algo").filter(|algo| **algo == "W4A16_NVFP4") {
                *algo = "NVFP4".into();
            }
        };
        rename(config);
        each(config, "quantized_layers", rename);
        each(config, "config_groups", |group| {
            if group["weights"]["num_bits"] == 4 {
                group["input_activations"] = group["weights"].clone();
            }
        });
    }

    /// Groups of the old config that still describe a format say more than can be told from tensors:
    /// how activations are quantized.
    fn keep_groups(&self, config: &mut Value) {
        let old = self.opened.stated.config.as_ref().and_then(|old| old.get("config_groups"));
        let old = old.and_then(Value::as_object);
        let Some(groups) = config.get_mut("config_groups").and_then(Value::as_object_mut) else {
            return;
        };
        let mut kept = Map::new();
        for (number, group) in std::mem::take(groups) {
            let format = format_of_group(&group);
            let same =
                old.and_then(|old| old.iter().find(|(_, old)| format_of_group(old) == format));
            let (name, mut described) = match same {
                Some((name, described)) => (name.clone(), described.clone()),
                None => (number, group.clone()),
            };
            described["targets"] = group["targets"].clone();
            if same.is_none() && format == Some(Format::Nvfp4) && self.has_global_input_scales() {
                let mut activations = group["weights"].clone();
                activations["dynamic"] = "local".into();
                described["input_activations"] = activations;
            }
            kept.insert(name, described);
        }
        *groups = kept;
    }

    fn has_global_input_scales(&self) -> bool {
        self.checkpoint().tensors.iter().any(|t| t.name.ends_with(".input_global_scale"))
    }
}

/// Keys of an old value that do not follow from the tensors, which are kept.
pub fn kept_keys(old: Option<&Value>) -> Vec<String> {
    let keys = old.and_then(Value::as_object).into_iter().flat_map(|old| old.iter());
    let kept = keys.filter(|(key, value)| !TOLD.contains(&key.as_str()) && !value.is_null());
    kept.map(|(key, _)| key.clone()).collect()
}

fn keep(new: &mut Value, old: Option<&Value>) {
    for key in kept_keys(old) {
        if let Some(value) = old.and_then(|old| old.get(&key)) {
            new[&key] = value.clone();
        }
    }
}

fn each(value: &mut Value, key: &str, change: impl Fn(&mut Value)) {
    let map = value.get_mut(key).and_then(Value::as_object_mut);
    map.into_iter().flat_map(|map| map.values_mut()).for_each(change);
}
