//! What will happen to every tensor: format or kept, and why; what is stored where; exact sizes.
//!
//! A plan is a plain value, made from headers, config and recipe without reading one weight.

mod about;
mod coverage;
mod decide;
mod edit;
mod error;
mod exclude;
mod finding;
mod fix;
mod fused;
mod graph;
mod group;
mod guards;
mod layout;
mod reason;
mod rule_use;
mod share;
mod sizes;
mod tie_outcomes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use coverage::Coverage;
pub use decide::why_not;
pub use error::PlanError;
pub use exclude::is_packed_lookalike;
pub use finding::{Finding, FindingKind};
pub use fix::{Fix, fixes};
pub use layout::{Contents, Placed, PlannedFile, Sharding, layout};
pub use reason::Reason;
pub use rule_use::RuleUse;
pub use sizes::Sizes;
pub use tie_outcomes::{second_table_bytes, shared_label, tie_outcomes};

use crate::checkpoint::{Checkpoint, Metadata, ONNX_FILE, Tensor};
use crate::dialect::q4gsw::{self, Packed};
use crate::dialect::{Dialect, Output, Part, executorch, onnx_qdq};
use crate::format::packing::Packing;
use crate::format::q4gsw::NibbleOrder;
use crate::format::{Format, Quotient, ScaleDtype, ScaleSearch};
use crate::model::ties::Tie;
use crate::model::{Member, Model, Role, is_quantizable, module_of};
use crate::recipe::{Recipe, TiedOutcome};

/// What will happen to a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The layout of the export.
    pub dialect: Dialect,
    /// How quotients are rounded, if not as the dialect's arithmetic says. On a CPU the
    /// compressed-tensors library rounds those of FP8 and of whole numbers to the weights' type.
    pub quotient: Option<Quotient>,
    /// How block scales are chosen, in the formats that have a choice.
    pub search: ScaleSearch,
    /// The float type that scales are stored in.
    pub scale_dtype: ScaleDtype,
    /// Which of two codes has the low nibble in a table that no head reads.
    pub nibbles: NibbleOrder,
    /// One entry a tensor, in natural order of names.
    pub entries: Vec<Entry>,
    /// Tensors that share a global scale: indices of entries. A tensor that shares with none is a
    /// group of one.
    pub groups: Vec<Vec<usize>>,
    /// The files to write.
    pub files: Vec<PlannedFile>,
    /// Patterns for the modules that are not quantized, as the dialect's config lists them.
    pub exclude: Vec<String>,
    /// What `tie_word_embeddings` has to become, if it changes.
    pub tie_word_embeddings: Option<bool>,
    /// What the user should look at.
    pub findings: Vec<Finding>,
    /// Every rule of the recipe, in the order in which they are tried, and what it does here.
    pub rules: Vec<RuleUse>,
    /// Bytes of the source's weight files, headers included.
    pub bytes_before: u64,
    /// Bytes of the planned weight files, headers included.
    pub bytes_after: u64,
    /// Whether what is stored depends on a tie that only weights can tell.
    pub tie_is_open: bool,
    /// Whether tensors of an ONNX model are to be in a file of their own.
    pub external_data: bool,
}

/// What will happen to one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The tensor, and what it is.
    pub member: Member,
    /// Format, or kept, and why.
    pub decision: Decision,
    /// What is stored for it.
    pub outputs: Vec<Output>,
}

/// Format, or kept, and why.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is quantized.
    Quantize {
        /// To this format.
        format: Format,
        /// The rule that says so.
        rule: Arc<str>,
        /// Index of its group in [`Plan::groups`].
        group: usize,
        /// Length that its rows get with zeros at their ends, if they do not divide into blocks.
        padded_columns: Option<u64>,
    },
    /// It equals a table that is quantized, and its layers read the codes of that.
    Shared {
        /// The format of the table.
        format: Format,
        /// The table.
        table: Box<SharedTable>,
    },
    /// It is in this format already.
    Stored(Format),
    /// It is stored byte for byte.
    Keep(Reason),
}

/// A quantized table that heads read, by the names of its parts in the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedTable {
    /// The table itself.
    pub name: String,
    /// Rows and columns.
    pub shape: [u64; 2],
    /// Its codes.
    pub codes: String,
    /// Its scales.
    pub scales: String,
    /// Its zero points, if it has any.
    pub zero_points: Option<String>,
}

impl SharedTable {
    /// The parts that `outputs` are of a weight.
    fn of(weight: &Tensor, outputs: &[Output]) -> Self {
        let of_part = |part| {
            let output = outputs.iter().find(|output| output.part == part);
            output.map(|output| output.name.clone())
        };
        let length = |axis: usize| weight.shape.get(axis).copied().unwrap_or(0);
        Self {
            name: weight.name.clone(),
            shape: [length(0), length(1)],
            codes: of_part(Part::Codes).unwrap_or_default(),
            scales: of_part(Part::Scales).unwrap_or_default(),
            zero_points: of_part(Part::ZeroPoints),
        }
    }
}

impl Entry {
    /// Bytes of what is stored for it.
    pub fn bytes_after(&self) -> u64 {
        self.outputs.iter().map(Output::bytes).sum()
    }

    /// The format it gets, if it is quantized.
    pub fn format(&self) -> Option<Format> {
        match self.decision {
            Decision::Quantize { format, .. }
            | Decision::Shared { format, .. }
            | Decision::Stored(format) => Some(format),
            Decision::Keep(_) => None,
        }
    }

    /// Length that its rows get with zeros at their ends, if they get any.
    pub fn padded_columns(&self) -> Option<u64> {
        match self.decision {
            Decision::Quantize { padded_columns, .. } => padded_columns,
            Decision::Shared { .. } | Decision::Stored(_) | Decision::Keep(_) => None,
        }
    }

    /// Whether it is a matrix of floats that is no norm or bias, nor scales of a quantized layer, and so
    /// counts for coverage.
    pub fn is_quantizable(&self) -> bool {
        is_quantizable(&self.member.tensor, self.member.role)
            && !matches!(self.decision, Decision::Keep(Reason::Part))
    }
}

impl Plan {
    /// Applies a recipe to a model. `dialect` gives names and layout.
    pub fn new(
        model: &Model<'_>,
        recipe: &Recipe,
        dialect: Dialect,
        sharding: Sharding,
    ) -> Result<Self, PlanError> {
        if !dialect.is_for(model.checkpoint) {
            let checkpoint = model.checkpoint.path.clone();
            return Err(PlanError::OtherKind { checkpoint, dialect });
        }
        let is_onnx = dialect.is_onnx();
        if let Some(method) = model.checkpoint.existing_quantization().filter(|_| !is_onnx) {
            let checkpoint = model.checkpoint.path.clone();
            return Err(PlanError::AlreadyQuantized { checkpoint, method });
        }
        if let Some(graph) = model.checkpoint.onnx.as_ref().filter(|_| dialect == Dialect::OnnxQdq)
        {
            let (opset, needed) = (graph.document.opset(), onnx_qdq::OPSET);
            if opset < needed {
                let checkpoint = model.checkpoint.path.clone();
                return Err(PlanError::OldOpset { checkpoint, opset, needed });
            }
        }
        let rules = recipe.rule_set()?;
        check_formats(recipe, dialect)?;
        if model.checkpoint.config.is_none() && !dialect.has_own_file() && recipe.format.is_some() {
            let folder = model.checkpoint.folder.clone();
            return Err(PlanError::NeedsConfig { dialect, folder });
        }
        if recipe.tied == Some(TiedOutcome::Share) && !dialect.shares_tables() {
            return Err(PlanError::CannotShare { dialect });
        }
        let decided = decide::decide(model, recipe, &rules, dialect);
        let (mut entries, mut findings) = (decided.entries, decided.findings);
        let groups = group::group(&mut entries, recipe.expert_scale);
        let files = match is_onnx {
            true => {
                let name = (ONNX_FILE, recipe.external_data);
                graph::files(&entries, dialect, model.checkpoint, &model.uses, name)?
            }
            false => {
                let metadata = metadata(&entries, dialect, recipe.nibbles);
                layout(&entries, model.checkpoint, sharding, metadata)
            }
        };
        let exclude = exclude::exclude(&entries, &model.tie, dialect);
        findings.extend(about::about_checkpoint(model.checkpoint));
        findings.extend(about::about_experts(model));
        if !is_onnx {
            findings.extend(about::about_fused(&entries));
        }
        findings.extend(about::about_tiles(&entries));
        let shared = match &model.tie {
            Tie::HeadAbsent { embedding, .. } if !decided.untied => Some(*embedding),
            _ => None,
        };
        findings.extend(guards::about_guards(&entries, dialect, shared));
        findings.extend(about::about_split(model, &entries));
        let rules = rule_use::rule_uses(&rules, model);
        findings.extend(about::about_rules(&rules));
        check_names(model.checkpoint, &entries)?;

        Ok(Self {
            dialect,
            quotient: None,
            search: recipe.scale_search,
            scale_dtype: recipe.scale_dtype,
            nibbles: recipe.nibbles,
            groups,
            exclude,
            tie_word_embeddings: decided.untied.then_some(false),
            findings,
            rules,
            bytes_before: model.checkpoint.file_bytes(),
            bytes_after: files.iter().map(|file| file.bytes).sum(),
            tie_is_open: decided.tie_is_open,
            external_data: recipe.external_data,
            entries,
            files,
        })
    }

    /// How scales of a format are chosen.
    pub fn search_for(&self, format: Format) -> ScaleSearch {
        match self.search.is_for(format, self.dialect.arithmetic()) {
            true => self.search,
            false => ScaleSearch::Max,
        }
    }

    /// How the codes of an entry are packed.
    pub fn packing(&self, entry: &Entry) -> Packing {
        let packing = entry.format().and_then(|format| self.dialect.packing(format));
        match packing {
            Some(Packing::Q4gsw(_)) => Packing::Q4gsw(q4gsw::order(&entry.outputs, self.nibbles)),
            packing => packing.unwrap_or(Packing::Bytes),
        }
    }

    /// What is said of the weights that are packed for ExecuTorch's operators, by name.
    pub fn packed(&self) -> impl Iterator<Item = (&str, Packed)> {
        packed(&self.entries, self.nibbles)
    }

    /// Whether anything is quantized, or reads what is.
    pub fn quantizes(&self) -> bool {
        let shares = |entry: &Entry| matches!(entry.decision, Decision::Shared { .. });
        !self.groups.is_empty() || self.entries.iter().any(shares)
    }

    /// The same plan for an ONNX model with another file name, which the file says itself.
    pub fn named(mut self, checkpoint: &Checkpoint, name: &str) -> Self {
        let uses = Model::new(checkpoint, self.dialect.fused_experts()).uses;
        let name = (name, self.external_data);
        // What values are called does not depend on it, and was looked at when the plan was made.
        if let Ok(files) = graph::files(&self.entries, self.dialect, checkpoint, &uses, name) {
            self.files = files;
        }
        self.bytes_after = self.files.iter().map(|file| file.bytes).sum();
        self
    }

    /// The modules that are quantized, with their formats, in the order of entries.
    pub fn layers(&self) -> Vec<(String, Format)> {
        let layer = |entry: &Entry| {
            Some((module_of(&entry.member.tensor.name).to_owned(), entry.format()?))
        };
        self.entries.iter().filter_map(layer).collect()
    }

    /// Kept tensors by reason and role, largest first: reason, role, how many, bytes.
    pub fn kept(&self) -> Vec<(&Reason, Role, u64, u64)> {
        let mut kept: BTreeMap<(&Reason, Role), (u64, u64)> = BTreeMap::new();
        for entry in &self.entries {
            if let Decision::Keep(reason) = &entry.decision {
                let (tensors, bytes) = kept.entry((reason, entry.member.role)).or_default();
                *tensors += 1;
                *bytes += entry.member.tensor.bytes;
            }
        }
        let mut kept: Vec<_> =
            kept.into_iter().map(|((reason, role), (n, bytes))| (reason, role, n, bytes)).collect();
        kept.sort_by_key(|(.., bytes)| std::cmp::Reverse(*bytes));
        kept
    }
}

/// What headers say besides tensors.
fn metadata(entries: &[Entry], dialect: Dialect, nibbles: NibbleOrder) -> Metadata {
    let tensors = entries.iter().map(|entry| (&entry.member.tensor, entry.format()));
    match dialect {
        Dialect::ExecuTorch => executorch::metadata(tensors),
        Dialect::Q4gsw => q4gsw::metadata(packed(entries, nibbles)),
        _ => Metadata::new(),
    }
}

/// What is said of the weights that are packed for ExecuTorch's operators, by name.
fn packed(entries: &[Entry], nibbles: NibbleOrder) -> impl Iterator<Item = (&str, Packed)> {
    let quantized = entries.iter().filter(|entry| entry.format().is_some());
    quantized.filter_map(move |entry| {
        let tensor = &entry.member.tensor;
        let [rows, columns] = tensor.shape[..] else { return None };
        let shape = [rows, entry.padded_columns().unwrap_or(columns)];
        Some((tensor.name.as_str(), q4gsw::packed(shape, &entry.outputs, nibbles)?))
    })
}

/// Formats that the dialect has no place for, or that nobody would load, are refused before
/// anything else.
fn check_formats(recipe: &Recipe, dialect: Dialect) -> Result<(), PlanError> {
    for format in recipe.formats() {
        if dialect.packing(format).is_none() {
            return Err(PlanError::NoPair { format, dialect });
        }
        if dialect.runtimes(format).is_empty() && !recipe.unserved {
            return Err(PlanError::Unserved { format, dialect });
        }
    }
    let search = recipe.scale_search;
    let is_for = |format: Format| search.is_for(format, dialect.arithmetic());
    if recipe.formats().next().is_some() && !recipe.formats().any(is_for) {
        return Err(PlanError::NoSearch { search, dialect });
    }
    if recipe.scale_dtype != ScaleDtype::Own && !dialect.chooses_scale_dtype() {
        return Err(PlanError::NoScaleDtype { dialect });
    }
    if recipe.nibbles != NibbleOrder::default() && dialect != Dialect::Q4gsw {
        return Err(PlanError::NoNibbles { dialect });
    }
    Ok(())
}

/// No two outputs may have one name: a tensor of the source could be called like a scale.
fn check_names(checkpoint: &Checkpoint, entries: &[Entry]) -> Result<(), PlanError> {
    let mut seen = HashMap::with_capacity(entries.iter().map(|entry| entry.outputs.len()).sum());
    for entry in entries {
        for output in &entry.outputs {
            let stored = &checkpoint.tensors[entry.member.index].name;
            if let Some(other) = seen.insert(output.name.as_str(), stored) {
                return Err(PlanError::NameTaken {
                    name: output.name.clone(),
                    first: other.clone(),
                    second: stored.clone(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use tempfile::TempDir;

    use super::*;
    use crate::checkpoint::Dtype;
    use crate::checkpoint::header::{self, HeaderEntry};

    /// A config of a model that ties its head unless one is stored.
    pub const LLAMA: &str = r#"{"model_type":"llama","hidden_size":64}"#;
    /// That of a mixture of two experts.
    pub const MIXTURE: &str = r#"{"model_type":"mixture","hidden_size":64,"num_experts":2}"#;

    /// A checkpoint in bf16 whose weights take no room.
    pub struct Synthetic {
        pub checkpoint: Checkpoint,
        _folder: TempDir,
    }

    impl Synthetic {
        pub fn new(config: &str, tensors: &[(impl AsRef<str>, Vec<u64>)]) -> Self {
            let mut end = 0;
            let entry = |(name, shape): &(_, Vec<u64>)| {
                let begin = end;
                end += 2 * shape.iter().product::<u64>();
                let name = AsRef::<str>::as_ref(name).to_owned();
                HeaderEntry { name, dtype: Dtype::BF16, shape: shape.clone(), begin, end }
            };
            let entries: Vec<HeaderEntry> = tensors.iter().map(entry).collect();
            let folder = TempDir::new().unwrap();
            let file = folder.path().join("model.safetensors");
            let header = header::encode(&entries, &header::Metadata::new());
            fs::write(&file, &header).unwrap();
            let file = File::options().write(true).open(&file).unwrap();
            file.set_len(header.len() as u64 + end).unwrap();
            fs::write(folder.path().join("config.json"), config).unwrap();
            Self { checkpoint: Checkpoint::open(folder.path()).unwrap(), _folder: folder }
        }

        /// Tensors of a model with dense layers and without a head.
        pub fn layers(count: u32) -> Vec<(String, Vec<u64>)> {
            let projections = [
                ("mlp.down_proj", vec![64, 128]),
                ("mlp.gate_proj", vec![128, 64]),
                ("mlp.up_proj", vec![128, 64]),
                ("self_attn.k_proj", vec![32, 64]),
                ("self_attn.o_proj", vec![64, 64]),
                ("self_attn.q_proj", vec![64, 64]),
                ("self_attn.v_proj", vec![32, 64]),
                ("input_layernorm", vec![64]),
            ];
            let named = |layer: u32| {
                let name = move |name: &str| format!("model.layers.{layer}.{name}.weight");
                projections.clone().map(|(projection, shape)| (name(projection), shape))
            };
            let table = ("model.embed_tokens.weight".to_owned(), vec![128, 64]);
            (0..count).flat_map(named).chain([table]).collect()
        }

        /// Tensors of a layer with two experts that are fused.
        pub fn experts() -> Vec<(String, Vec<u64>)> {
            let list = "model.layers.0.mlp.experts";
            let mut tensors = Self::layers(1);
            tensors.retain(|(name, _)| !name.contains("mlp"));
            tensors.push((format!("{list}.gate_up_proj"), vec![2, 192, 64]));
            tensors.push((format!("{list}.down_proj"), vec![2, 64, 96]));
            tensors
        }

        /// The plan in the layout of the recipe.
        pub fn plan(&self, recipe: &Recipe) -> Plan {
            let dialect = recipe.export.unwrap_or(Dialect::Modelopt);
            let model = Model::new(&self.checkpoint, dialect.fused_experts());
            Plan::new(&model, recipe, dialect, Sharding::AsSource).unwrap()
        }
    }
}
