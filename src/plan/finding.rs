//! What the user should look at. Findings are values; window and terminal show the same ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Entry;
use crate::checkpoint::{Checkpoint, Config, index::INDEX_FILE};
use crate::model::{MAX_EXPERTS, Model, Role, module_of, scale_group};
use crate::recipe::RuleSet;

/// Something that is not as one would expect it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The tensors that it is about.
    pub tensors: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
}

/// Kinds of findings. The text of each says what is and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingKind {
    /// Rows do not divide into blocks.
    Indivisible {
        /// Length of a row.
        columns: u64,
        /// Length of a block.
        block: u64,
    },
    /// Rows were filled up with zeros to divide into blocks.
    Padded {
        /// Length of a row.
        columns: u64,
        /// Length of a stored row.
        padded: u64,
    },
    /// A matrix that is stored as `[inputs, outputs]`.
    InputsFirst,
    /// Several experts in one tensor.
    FusedExperts,
    /// Fused experts in a format that the dialect has no place for.
    NoPlace,
    /// An odd number of rows in a format that packs them in pairs.
    OddRows,
    /// Rows that are too long.
    TooWide {
        /// Length of a row.
        columns: u64,
    },
    /// A tensor without elements.
    Empty,
    /// A rule wants to quantize something that is no layer's weight.
    NotAnyLayer,
    /// A float matrix that no rule matches.
    NoRule,
    /// A tied table or head was to be quantized and stays.
    TiedKept {
        /// Bytes that table and head take so.
        kept: u64,
        /// Bytes that a quantized one and a float one would take.
        untied: u64,
    },
    /// A head that the config ties to the table, and that a model untied from it will read, is
    /// another matrix.
    HeadDiffers,
    /// Whether table and head are equal is not known.
    TieUnknown,
    /// A rule matches nothing.
    RuleMatchesNothing {
        /// Where the rule stands.
        rule: String,
    },
    /// Of layers that runtimes fuse, some are quantized and some are not.
    PartlyQuantized,
    /// A layer has another number of experts than the config says.
    ExpertCount {
        /// Experts that the config says.
        expected: u64,
        /// Experts that are stored.
        found: u64,
    },
    /// There is no `config.json`.
    NoConfig,
    /// Tensors are in a shard but not in the index.
    Unlisted,
    /// Weight files of the folder are not part of the checkpoint that was opened.
    IgnoredFiles {
        /// Their names.
        files: Vec<String>,
    },
    /// A kept tensor holds NaN or infinity.
    NotFinite,
    /// Scales that were searched for give a larger error than those of the largest magnitudes.
    SearchLost,
}

impl Finding {
    /// A finding about one tensor.
    pub fn about(kind: FindingKind, tensor: &str, bytes: u64) -> Self {
        Self { kind, tensors: vec![tensor.to_owned()], bytes }
    }

    fn general(kind: FindingKind) -> Self {
        Self { kind, tensors: Vec::new(), bytes: 0 }
    }

    /// One finding a kind, in order of first appearance.
    pub fn merged(findings: Vec<Self>) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        for finding in findings {
            match merged.iter_mut().find(|other| other.kind == finding.kind) {
                Some(other) => {
                    other.tensors.extend(finding.tensors);
                    other.bytes += finding.bytes;
                }
                None => merged.push(finding),
            }
        }
        merged
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Indivisible { columns, block } => write!(
                f,
                "rows of {columns} are no multiple of the block of {block}: kept. \
                 Exclude them to say that this is intended"
            ),
            Self::Padded { columns, padded } => write!(
                f,
                "rows of {columns} are stored as {padded}, with zeros at their ends: no known \
                 runtime fills up its inputs to match"
            ),
            Self::FusedExperts => f.write_str(
                "experts fused in a layout that is not known: kept. The hidden_size of config.json \
                 tells inputs from outputs, in tensors called gate_up_proj and down_proj",
            ),
            Self::InputsFirst => f.write_str(
                "stored as [inputs, outputs], and readers of the dialect expect \
                 [outputs, inputs]: kept",
            ),
            Self::TooWide { columns } => write!(
                f,
                "rows of {columns} are too long to be read together: kept"
            ),
            Self::NoPlace => f.write_str(
                "the dialect has no place for experts fused as [experts, inputs, outputs] in this \
                 format: kept. NVFP4 has one, and compressed-tensors splits them",
            ),
            Self::OddRows => f.write_str(
                "an odd number of rows, and the format packs them in pairs: kept. Choose another \
                 format for them",
            ),
            Self::Empty => f.write_str("no elements: carried as they are"),
            Self::NotAnyLayer => f.write_str(
                "a rule asks to quantize these, but only two-dimensional .weight tensors can be: kept",
            ),
            Self::NoRule => f.write_str(
                "no rule matches these matrices: kept. Name them with --include or --exclude",
            ),
            Self::TiedKept { kept, untied } => write!(
                f,
                "embedding and head are one matrix: quantizing one alone would break the tie, so \
                 both stay and take {kept} bytes. --tied untie quantizes it for one and leaves \
                 the other float, {untied} bytes together"
            ),
            Self::HeadDiffers => f.write_str(
                "the config ties the head to this table, but the stored head has other bytes, and \
                 once untied the model reads those. Remove the stored head to go on with a copy \
                 of the table",
            ),
            Self::TieUnknown => f.write_str(
                "whether the head equals this table is not known before weights are read; \
                 if it does, the table stays unless --tied untie is given",
            ),
            Self::RuleMatchesNothing { rule } => write!(f, "{rule} matches no tensor"),
            Self::PartlyQuantized => f.write_str(
                "kept, while layers that runtimes fuse with them are quantized: vLLM refuses such \
                 a checkpoint. Quantize or keep them together",
            ),
            Self::ExpertCount { expected, found } => write!(
                f,
                "a layer has {found} experts where config.json says {expected}: \
                 is the checkpoint complete?"
            ),
            Self::NoConfig => f.write_str(
                "no config.json beside the weights: runtimes find the quantization in it, \
                 so add one to the output before it is served",
            ),
            Self::Unlisted => write!(f, "in a shard, but not in {INDEX_FILE}: carried all the same"),
            Self::IgnoredFiles { files } => write!(
                f,
                "{} not part of the checkpoint, and not carried: {}",
                match files.len() {
                    1 => "a weight file of the folder is",
                    _ => "weight files of the folder are",
                },
                files.join(", ")
            ),
            Self::NotFinite => f.write_str("holds NaN or infinity: carried as it is"),
            Self::SearchLost => f.write_str(
                "the scale search made the error larger here than --scale-search max does",
            ),
        }
    }
}

/// What is odd about the checkpoint itself.
pub fn about_checkpoint(checkpoint: &Checkpoint) -> Vec<Finding> {
    let mut findings = Vec::new();
    if checkpoint.config.is_none() {
        findings.push(Finding::general(FindingKind::NoConfig));
    }
    if !checkpoint.unlisted.is_empty() {
        let bytes = checkpoint.unlisted.iter().filter_map(|name| checkpoint.tensor(name));
        findings.push(Finding {
            kind: FindingKind::Unlisted,
            bytes: bytes.map(|tensor| tensor.bytes).sum(),
            tensors: checkpoint.unlisted.clone(),
        });
    }
    if !checkpoint.ignored.is_empty() {
        let files = checkpoint.ignored.clone();
        findings.push(Finding::general(FindingKind::IgnoredFiles { files }));
    }
    findings
}

/// Layers whose experts are not as many as the config says.
pub fn about_experts(model: &Model<'_>) -> Vec<Finding> {
    let config = model.checkpoint.config.as_ref();
    let Some(expected) = config.and_then(Config::expert_count) else { return Vec::new() };
    let mut layers: BTreeMap<u32, (BTreeSet<u32>, Finding)> = BTreeMap::new();
    for member in &model.members {
        let tensor = &member.tensor;
        let stored = match (member.expert, &tensor.shape[..], member.role, member.input_axis) {
            (Some(expert), ..) => vec![expert],
            (None, [experts, _, _], Role::Expert, Some(_)) => {
                (0..u32::try_from(*experts).unwrap_or(0).min(MAX_EXPERTS)).collect()
            }
            _ => continue,
        };
        let Some(layer) = member.layer else { continue };
        let none =
            || (BTreeSet::new(), Finding::general(FindingKind::ExpertCount { expected, found: 0 }));
        let (experts, finding) = layers.entry(layer).or_insert_with(none);
        experts.extend(stored);
        finding.tensors.push(tensor.name.clone());
        finding.bytes += tensor.bytes;
    }
    let odd = layers.into_values().filter(|(experts, _)| experts.len() as u64 != expected);
    let counted = odd.map(|(experts, finding)| Finding {
        kind: FindingKind::ExpertCount { expected, found: experts.len() as u64 },
        ..finding
    });
    Finding::merged(counted.collect())
}

/// Kept layers whose fused siblings, or fellow experts, are quantized.
pub fn about_fused(entries: &[Entry]) -> Vec<Finding> {
    let mut groups: BTreeMap<(String, &[&str]), Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_quantizable()) {
        let module = module_of(&entry.member.tensor.name);
        if entry.member.role == Role::Expert {
            // A runtime holds all experts of a layer in one tensor.
            let list = module.split(".experts.").next().unwrap_or(module).to_owned();
            groups.entry((list, &[])).or_default().push(entry);
        } else if let Some(group) = scale_group(module) {
            groups.entry((group.parent, group.projections)).or_default().push(entry);
        }
    }
    let torn =
        groups.into_values().filter(|group| group.iter().any(|entry| entry.format().is_some()));
    let kept = torn.flatten().filter(|entry| entry.format().is_none());
    let about = |entry: &Entry| {
        Finding::about(
            FindingKind::PartlyQuantized,
            &entry.member.tensor.name,
            entry.member.tensor.bytes,
        )
    };
    Finding::merged(kept.map(about).collect())
}

/// Rules that match nothing, presets aside.
pub fn about_rules(rules: &RuleSet, model: &Model<'_>) -> Vec<Finding> {
    let matched = |i: usize| {
        model.members.iter().any(|member| {
            let stored = &model.checkpoint.tensors[member.index];
            rules.matches(i, [&member.tensor.name, &stored.name], member.role)
        })
    };
    let unused = rules.iter().enumerate().filter(|(i, rule)| !rule.optional && !matched(*i));
    let kind = |rule: &str| FindingKind::RuleMatchesNothing { rule: rule.to_owned() };
    unused.map(|(_, rule)| Finding::general(kind(&rule.source))).collect()
}
