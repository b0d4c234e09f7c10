//! What will happen to every tensor: format or kept, and why; what is stored where; exact sizes.
//!
//! A plan is a plain value, made from headers, config and recipe without reading one weight.

mod about;
mod decide;
mod error;
mod exclude;
mod finding;
mod group;
mod layout;
mod reason;

use std::collections::{BTreeMap, HashMap};

pub use error::PlanError;
pub use exclude::is_packed_lookalike;
pub use finding::{Finding, FindingKind};
pub use layout::{PlannedFile, Sharding, layout};
pub use reason::Reason;

use crate::checkpoint::Checkpoint;
use crate::dialect::{Dialect, Output, Part};
use crate::format::{Format, Quotient, ScaleSearch};
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
    /// Bytes of the source's weight files, headers included.
    pub bytes_before: u64,
    /// Bytes of the planned weight files, headers included.
    pub bytes_after: u64,
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
        rule: String,
        /// Index of its group in [`Plan::groups`].
        group: usize,
        /// Length that its rows get with zeros at their ends, if they do not divide into blocks.
        padded_columns: Option<u64>,
    },
    /// It is in this format already.
    Stored(Format),
    /// It is stored byte for byte.
    Keep(Reason),
}

impl Entry {
    /// Bytes of what is stored for it.
    pub fn bytes_after(&self) -> u64 {
        self.outputs.iter().map(Output::bytes).sum()
    }

    /// The format it gets, if it is quantized.
    pub fn format(&self) -> Option<Format> {
        match self.decision {
            Decision::Quantize { format, .. } => Some(format),
            Decision::Stored(format) => Some(format),
            Decision::Keep(_) => None,
        }
    }

    /// Length that its rows get with zeros at their ends, if they get any.
    pub fn padded_columns(&self) -> Option<u64> {
        match self.decision {
            Decision::Quantize { padded_columns, .. } => padded_columns,
            Decision::Stored(_) | Decision::Keep(_) => None,
        }
    }

    /// Whether it is a matrix of floats that is no norm or bias, and so counts for coverage.
    pub fn is_quantizable(&self) -> bool {
        is_quantizable(&self.member.tensor, self.member.role)
    }
}

/// How much of what could be quantized is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// Float tensors of two or more dimensions, norms and biases aside.
    pub quantizable_tensors: u64,
    /// Their bytes.
    pub quantizable_bytes: u64,
    /// Those of them that are quantized.
    pub quantized_tensors: u64,
    /// Their bytes, before.
    pub quantized_bytes: u64,
}

impl Coverage {
    /// Quantized bytes in percent of quantizable bytes.
    pub fn percent(&self) -> f64 {
        100.0 * self.quantized_bytes as f64 / self.quantizable_bytes.max(1) as f64
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
        if let Some(method) = model.checkpoint.existing_quantization() {
            let checkpoint = model.checkpoint.path.clone();
            return Err(PlanError::AlreadyQuantized { checkpoint, method });
        }
        let rules = recipe.rule_set()?;
        check_formats(recipe, dialect)?;
        if model.checkpoint.config.is_none() && !dialect.has_own_file() && recipe.format.is_some() {
            let folder = model.checkpoint.folder.clone();
            return Err(PlanError::NeedsConfig { dialect, folder });
        }
        if recipe.tied == TiedOutcome::Share && !dialect.shares_tables() {
            return Err(PlanError::CannotShare { dialect });
        }
        let decided = decide::decide(model, recipe, &rules, dialect);
        let (mut entries, mut findings) = (decided.entries, decided.findings);
        let groups = group::group(&mut entries, recipe.expert_scale);
        let files = layout(&entries, model.checkpoint, sharding);
        let exclude = exclude::exclude(&entries, &model.tie, dialect);
        findings.extend(about::about_checkpoint(model.checkpoint));
        findings.extend(about::about_experts(model));
        findings.extend(about::about_fused(&entries));
        findings.extend(about::about_tiles(&entries));
        findings.extend(about::about_split(model, &entries));
        findings.extend(about::about_rules(&rules, model));
        check_names(model.checkpoint, &entries)?;

        Ok(Self {
            dialect,
            quotient: None,
            search: recipe.scale_search,
            groups,
            exclude,
            tie_word_embeddings: decided.untied.then_some(false),
            findings,
            bytes_before: model.checkpoint.file_bytes(),
            bytes_after: files.iter().map(PlannedFile::bytes).sum(),
            entries,
            files,
        })
    }

    /// How much of what could be quantized is.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for entry in self.entries.iter().filter(|entry| entry.is_quantizable()) {
            coverage.quantizable_tensors += 1;
            coverage.quantizable_bytes += entry.member.tensor.bytes;
            if entry.format().is_some() {
                coverage.quantized_tensors += 1;
                coverage.quantized_bytes += entry.member.tensor.bytes;
                // The float copy that an untied head gets is a matrix of its own.
                let copies = entry.outputs.iter().filter(|output| output.part == Part::Verbatim);
                for copy in copies {
                    coverage.quantizable_tensors += 1;
                    coverage.quantizable_bytes += copy.bytes();
                }
            }
        }
        coverage
    }

    /// How scales of a format are chosen.
    pub fn search_for(&self, format: Format) -> ScaleSearch {
        match self.search.is_for(format, self.dialect.arithmetic()) {
            true => self.search,
            false => ScaleSearch::Max,
        }
    }

    /// Whether anything is quantized.
    pub fn quantizes(&self) -> bool {
        !self.groups.is_empty()
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

    /// Bits that a quantized weight takes on average, scales included; `None` if there is none.
    pub fn bits_per_quantized_weight(&self) -> Option<f64> {
        let (mut bits, mut weights) = (0, 0);
        for entry in self.entries.iter().filter(|entry| entry.format().is_some()) {
            let stored = entry.outputs.iter().filter(|output| output.part != Part::Verbatim);
            bits += 8 * stored.map(Output::bytes).sum::<u64>();
            weights += entry.member.tensor.shape.iter().product::<u64>();
        }
        (weights > 0).then(|| bits as f64 / weights as f64)
    }
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
    Ok(())
}

/// No two outputs may have one name: a tensor of the source could be called like a scale.
fn check_names(checkpoint: &Checkpoint, entries: &[Entry]) -> Result<(), PlanError> {
    let mut seen = HashMap::new();
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
