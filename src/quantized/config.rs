//! What the config of a quantized checkpoint says: which modules are in which format.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;

use regex::Regex;
use serde_json::Value;

use super::ignore::{IgnoreList, patterns};
use crate::checkpoint::{Checkpoint, Config, Dtype, Tensor, python_json, read_small_file};
use crate::dialect::modelopt::{self, MIXED_PRECISION, QUANT_CONFIG_FILE};
use crate::dialect::q4gsw::{self, MANIFEST_FILE};
use crate::dialect::{Dialect, ExcludeList, executorch};
use crate::format::Format;
use crate::model::{Role, role_of};

/// What config files say about the quantization.
#[derive(Debug, Clone)]
pub struct Stated {
    /// The dialect.
    pub dialect: Dialect,
    /// `quantization_config` of `config.json`.
    pub config: Option<Value>,
    /// `quantization` of `hf_quant_config.json`, or the manifest of `q4gsw`.
    pub file: Option<Value>,
    /// What is wrong with that file where it is there and says nothing.
    pub unread: Option<String>,
    /// The method, if it is of neither dialect.
    pub foreign: Option<Foreign>,
    /// The modules that are said not to be quantized.
    pub ignore: Vec<String>,
    ignored: IgnoreList,
    groups: Vec<Group>,
    layers: HashMap<String, Option<Format>>,
    all: Option<Option<Format>>,
}

/// Methods of neither dialect, whose layers are read as compressed-tensors' are. Their loaders do
/// without a list of what is float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// `fp8`, as DeepSeek publishes: FP8 tiles whose scales are called `weight_scale_inv`.
    Fp8,
    /// `mxfp4`, as gpt-oss is published: MXFP4 experts in `_blocks` and `_scales`.
    Mxfp4,
}

impl Foreign {
    /// The method's name in `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp8 => "fp8",
            Self::Mxfp4 => "mxfp4",
        }
    }

    /// That of a checkpoint: what its config says, or else what its tensors are called.
    fn of(checkpoint: &Checkpoint) -> Option<Self> {
        // The codes of an ONNX model may have any name.
        if checkpoint.onnx.is_some() {
            return None;
        }
        let method = checkpoint.config.as_ref().and_then(|config| config.quantization_method());
        let any_ends_with =
            |ending: &str| checkpoint.tensors.iter().any(|tensor| tensor.name.ends_with(ending));
        match method.as_deref() {
            Some("fp8") => Some(Self::Fp8),
            Some("mxfp4") => Some(Self::Mxfp4),
            Some(_) => None,
            None if any_ends_with(".weight_scale_inv") => Some(Self::Fp8),
            None if any_ends_with("_blocks") => Some(Self::Mxfp4),
            None => None,
        }
    }
}

/// A config group of compressed-tensors.
#[derive(Debug, Clone)]
struct Group {
    targets: HashSet<String>,
    patterns: Vec<Regex>,
    format: Option<Format>,
}

/// The dialect that a checkpoint is in: what its config says, or else what its tensors look like.
pub fn dialect_of(checkpoint: &Checkpoint) -> Dialect {
    if checkpoint.onnx.is_some() {
        return Dialect::Onnx;
    }
    let method = checkpoint.config.as_ref().and_then(|config| config.quantization_method());
    let is_torchao = |tensor: &Tensor| {
        executorch::weight_of(&tensor.name).is_some_and(|(_, part)| part == executorch::CODES)
    };
    if method.as_deref() == Some(executorch::METHOD) || checkpoint.tensors.iter().any(is_torchao) {
        return Dialect::ExecuTorch;
    }
    if checkpoint.metadata().any(q4gsw::is_packed) {
        return Dialect::Q4gsw;
    }
    let mut named = [Dialect::Modelopt, Dialect::CompressedTensors].into_iter();
    let named = named.find(|dialect| method.as_deref() == Some(dialect.name()));
    named.unwrap_or_else(|| {
        if Foreign::of(checkpoint).is_some() {
            return Dialect::CompressedTensors;
        }
        let is_compressed = !checkpoint.folder.join(QUANT_CONFIG_FILE).is_file()
            && checkpoint.tensors.iter().any(only_in_compressed_tensors);
        if is_compressed { Dialect::CompressedTensors } else { Dialect::Modelopt }
    })
}

/// Whether a tensor is a part of a layer that ModelOpt has in another form. Its scales of rows have
/// one dimension, those of tensors none, and those of tiles four.
fn only_in_compressed_tensors(tensor: &Tensor) -> bool {
    let is_float = matches!(tensor.dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32);
    let of_rows = tensor.name.ends_with(".weight_scale")
        && is_float
        && matches!(tensor.shape[..], [1] | [_, 1]);
    of_rows || tensor.name.ends_with(".weight_packed")
}

impl Stated {
    /// Reads the config files of a checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let dialect = dialect_of(checkpoint);
        let config = checkpoint.config.as_ref();
        let config = config.and_then(Config::quantization).cloned();
        let file = match dialect {
            Dialect::Modelopt => json_file(checkpoint, QUANT_CONFIG_FILE, Some("quantization")),
            Dialect::Q4gsw => json_file(checkpoint, MANIFEST_FILE, None),
            _ => Ok(None),
        };
        let (file, unread) = file.map_or_else(|why| (None, Some(why)), |file| (file, None));
        let foreign = Foreign::of(checkpoint);
        let ignore = match (&config, &file) {
            (Some(config), _)
                if foreign.is_some() || matches!(dialect, Dialect::ExecuTorch | Dialect::Q4gsw) =>
            {
                strings(config.get("modules_to_not_convert"))
            }
            (Some(config), _) => strings(config.get("ignore")),
            (None, file) => strings(file.as_ref().and_then(|q| q.get("exclude_modules"))),
        };
        let mut stated = Self {
            dialect,
            ignored: IgnoreList::new(dialect, &ignore),
            ignore,
            groups: Vec::new(),
            layers: HashMap::new(),
            all: None,
            config,
            file,
            unread,
            foreign,
        };
        match dialect {
            _ if foreign.is_some() => stated.all = stated.format_of_foreign(),
            Dialect::Modelopt => stated.read_modelopt(),
            Dialect::CompressedTensors => stated.read_groups(),
            Dialect::ExecuTorch | Dialect::Q4gsw => {
                let layers = super::find(checkpoint, None, stated.ignore_list(), dialect);
                stated.layers =
                    layers.into_iter().map(|layer| (layer.module, layer.format)).collect();
            }
            Dialect::Onnx | Dialect::OnnxQdq => {}
        }
        stated
    }

    fn format_of_foreign(&self) -> Option<Option<Format>> {
        let in_tiles =
            |config: &Value| config.get("weight_block_size").is_some_and(Value::is_array);
        Some(Some(match self.foreign? {
            Foreign::Mxfp4 => Format::Mxfp4,
            Foreign::Fp8 if self.config.as_ref().is_none_or(in_tiles) => Format::Fp8Block,
            Foreign::Fp8 => Format::Fp8,
        }))
    }

    fn read_modelopt(&mut self) {
        let Some(value) = self.config.as_ref().or(self.file.as_ref()) else { return };
        let format = |value: &Value| {
            value.get("quant_algo").and_then(Value::as_str).and_then(modelopt::format_of)
        };
        if value.get("quant_algo").and_then(Value::as_str) == Some(MIXED_PRECISION) {
            let layers = value.get("quantized_layers").and_then(Value::as_object);
            let layer = |(module, value): (&String, &Value)| (module.clone(), format(value));
            self.layers = layers.into_iter().flatten().map(layer).collect();
        } else if value.get("quant_algo").is_some() {
            self.all = Some(format(value));
        }
    }

    fn read_groups(&mut self) {
        let groups = self.config.as_ref().and_then(|config| config.get("config_groups"));
        for group in groups.and_then(Value::as_object).into_iter().flat_map(|map| map.values()) {
            let targets = strings(group.get("targets"));
            let (patterns, format) = (patterns(&targets), format_of_group(group));
            self.groups.push(Group { patterns, targets: targets.into_iter().collect(), format });
        }
    }

    /// The name of the dialect, or of the method that is of neither.
    pub fn layout(&self) -> &'static str {
        self.foreign.map_or(self.dialect.name(), Foreign::name)
    }

    /// Whether a module is listed as not quantized.
    pub fn ignores(&self, module: &str) -> bool {
        self.ignored.contains(module)
    }

    /// The list of what is not quantized.
    pub fn ignore_list(&self) -> &ExcludeList {
        self.ignored.names()
    }

    /// Whether the config lets a loader expect a module to be quantized, the list of exceptions
    /// aside: `None` if not, and the format, if it is one that is known.
    pub fn expects(&self, module: &str) -> Option<Option<Format>> {
        match self.dialect {
            _ if self.foreign.is_some() => self.all,
            Dialect::Modelopt
            | Dialect::ExecuTorch
            | Dialect::Q4gsw
            | Dialect::Onnx
            | Dialect::OnnxQdq => self.all.or_else(|| self.layers.get(module).copied()),
            Dialect::CompressedTensors => {
                let role = role_of(&format!("{module}.weight"), &[1, 1]);
                let class = match role {
                    Role::Embedding | Role::Position => "Embedding",
                    Role::Norm | Role::Convolution => "",
                    _ => "Linear",
                };
                let matches = |group: &&Group| {
                    group.targets.contains(module)
                        || group.targets.contains(class)
                        || group.patterns.iter().any(|pattern| pattern.is_match(module))
                };
                self.groups.iter().find(matches).map(|group| group.format)
            }
        }
    }
}

/// A file beside the weights, or what is under a key of it; `None` if it is not there, and what is wrong with it
/// if it cannot be read.
fn json_file(
    checkpoint: &Checkpoint,
    name: &str,
    key: Option<&str>,
) -> Result<Option<Value>, String> {
    let text = match read_small_file(&checkpoint.folder.join(name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| format!("{name} cannot be read: {error}"))?,
    };
    let value = python_json::parse(&text).map_err(|error| format!("{name} is no JSON: {error}"))?;
    let found = key.map_or(Some(&value), |key| value.get(key));
    match (found.filter(|found| found.is_object()), key) {
        (Some(found), _) => Ok(Some(found.clone())),
        (None, Some(key)) => Err(format!("{name} has no object {key:?}")),
        (None, None) => Err(format!("{name} is no object")),
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The format of the weights that a config group of compressed-tensors describes.
pub fn format_of_group(group: &Value) -> Option<Format> {
    group.get("weights").and_then(format_of_arguments)
}

/// The format that the arguments of weights describe.
fn format_of_arguments(weights: &Value) -> Option<Format> {
    let bits = weights.get("num_bits")?.as_u64()?;
    let strategy = weights.get("strategy")?.as_str()?;
    let group = weights.get("group_size").and_then(Value::as_u64);
    let symmetric = weights.get("symmetric").and_then(Value::as_bool).unwrap_or(true);
    match (weights.get("type")?.as_str()?, bits, strategy, group) {
        ("float", 4, "tensor_group", Some(16)) => Some(Format::Nvfp4),
        ("float", 4, "group", Some(32)) => Some(Format::Mxfp4),
        ("float", 8, "group", Some(32)) => Some(Format::Mxfp8),
        ("float", 8, "tensor", _) => Some(Format::Fp8),
        ("float", 8, "channel", _) => Some(Format::Fp8Channel),
        ("float", 8, "block", _) => Some(Format::Fp8Block),
        ("int", 4 | 8, "channel", _) => {
            Some(Format::Int { bits: bits as u8, group: None, symmetric })
        }
        ("int", 4 | 8, "group", Some(group)) => {
            Some(Format::Int { bits: bits as u8, group: u16::try_from(group).ok(), symmetric })
        }
        _ => None,
    }
}
