//! What the user should look at. Findings are values; window and terminal show the same ones.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::checkpoint::Dtype;
use crate::checkpoint::index::INDEX_FILE;

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

/// Kinds of findings. The text of each says what is and what to do. Programs know them by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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
    /// Rows of an odd number of blocks, whose zero points of 4 bits are no whole bytes.
    OddBlocks,
    /// Rows that are too long.
    TooWide {
        /// Length of a row.
        columns: u64,
    },
    /// A tensor without elements.
    Empty,
    /// A rule wants to quantize something that is no layer's weight.
    NotAnyLayer,
    /// A weight that other nodes need as floats.
    OtherUse,
    /// A float matrix that no rule matches.
    NoRule,
    /// A tied table or head was to be quantized and stays.
    TiedKept {
        /// Bytes that table and head take so.
        kept: u64,
        /// Bytes that a quantized one and a float one would take.
        untied: u64,
        /// Bytes that a quantized one for both would take, where runtimes read that.
        shared: Option<u64>,
    },
    /// A head that the config ties to the table, and that a model untied from it will read, is
    /// another matrix.
    HeadDiffers,
    /// Whether table and head are equal is not known.
    TieUnknown {
        /// Whether the head reads the codes of the table if they are.
        shares: bool,
    },
    /// A rule matches nothing.
    RuleMatchesNothing {
        /// Where the rule stands.
        rule: String,
    },
    /// Of layers that runtimes fuse, some are quantized and some are not.
    PartlyQuantized,
    /// Layers that runtimes fuse are in several formats.
    MixedFormats,
    /// Rows or columns end in a part of a tile.
    PartialTiles,
    /// Experts one by one where transformers looks for them fused.
    ExpertsUnread,
    /// Rows of a length that ExecuTorch's operators for GPUs do not take.
    UnfitColumns {
        /// Length of a row.
        columns: u64,
        /// What it has to be a multiple of.
        multiple: u64,
    },
    /// As many rows as these operators do not take.
    UnfitRows {
        /// Rows.
        rows: u64,
    },
    /// As many rows as ExecuTorch does not test.
    UntestedRows {
        /// Rows.
        rows: u64,
    },
    /// Packed scales of a type that some of these operators do not read.
    NarrowScales {
        /// The type.
        dtype: Dtype,
    },
    /// Experts one by one in a family whose runtimes look for them fused.
    SplitUnread,
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

    /// A finding about no tensor in particular.
    pub fn general(kind: FindingKind) -> Self {
        Self { kind, tensors: Vec::new(), bytes: 0 }
    }

    /// One finding a kind, in order of first appearance.
    pub fn merged(findings: Vec<Self>) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        // Every tensor may have a kind of its own: by their texts they are found at once.
        let (mut places, mut last) = (HashMap::new(), 0);
        for finding in findings {
            if merged.get(last).is_none_or(|other| other.kind != finding.kind) {
                last = *places.entry(finding.kind.to_string()).or_insert(merged.len());
            }
            match merged.get_mut(last) {
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
            Self::OddBlocks => f.write_str(
                "an odd number of blocks in a row, whose zero points of 4 bits are no whole bytes: \
                 kept. Choose a symmetric format or smaller blocks for them",
            ),
            Self::Empty => f.write_str("no elements: carried as they are"),
            Self::NotAnyLayer => f.write_str(
                "a rule asks to quantize these, but only two-dimensional weights of layers can be: kept",
            ),
            Self::NoRule => f.write_str(
                "no rule matches these matrices: kept. Name them with --include or --exclude",
            ),
            Self::TiedKept { kept, untied, shared } => {
                write!(
                    f,
                    "embedding and head are one matrix: quantizing one alone would break the tie, \
                     so both stay and take {kept} bytes. --tied untie quantizes it for one and \
                     leaves the other float, {untied} bytes together"
                )?;
                shared.map_or(Ok(()), |bytes| {
                    write!(f, "; --tied share stores it once for both, {bytes} bytes")
                })
            }
            Self::HeadDiffers => f.write_str(
                "the config ties the head to this table, but the stored head has other bytes, and \
                 once untied the model reads those. Remove the stored head to go on with a copy \
                 of the table",
            ),
            Self::TieUnknown { shares: true } => f.write_str(
                "whether the head equals this table is not known before weights are read; \
                 if it does, the head reads its codes unless --tied untie is given",
            ),
            Self::TieUnknown { shares: false } => f.write_str(
                "whether the head equals this table is not known before weights are read; \
                 if it does, the table stays unless --tied untie is given",
            ),
            Self::RuleMatchesNothing { rule } => write!(f, "{rule} matches no tensor"),
            Self::PartlyQuantized => f.write_str(
                "kept, while layers that runtimes fuse with them are quantized: vLLM refuses such \
                 a checkpoint. Quantize or keep them together",
            ),
            Self::MixedFormats => f.write_str(
                "in another format than layers that runtimes fuse with them: vLLM refuses such a \
                 checkpoint. Give them one format",
            ),
            Self::PartialTiles => f.write_str(
                "rows or columns are no multiple of 128 and end in a part of a tile: vLLM refuses \
                 such layers, alone or fused with others",
            ),
            Self::ExpertsUnread => f.write_str(
                "experts one by one: transformers 5 looks for them fused, and goes on with random ones. \
                 ExecuTorch needs a model with a layer for each. Keep them with --exclude *.experts.*",
            ),
            Self::UnfitColumns { columns, multiple } => write!(
                f,
                "rows of {columns} are no multiple of {multiple}, as ExecuTorch's q4gsw operators need \
                 them: it computes these on the CPU, if at all. Keep them float to say otherwise"
            ),
            Self::UnfitRows { rows } => write!(
                f,
                "{rows} rows are no multiple of 4, as ExecuTorch's linear_q4gsw needs them on Vulkan. \
                 Keep them float to say otherwise"
            ),
            Self::UntestedRows { rows } => write!(
                f,
                "{rows} rows are a multiple of 4, but not of 8, and ExecuTorch tests its linear_q4gsw \
                 with the latter alone"
            ),
            Self::NarrowScales { dtype } => write!(
                f,
                "scales are {dtype}, and WebGPU reads F32 alone, Vulkan F16 and F32: --scale-dtype f32 \
                 stores those"
            ),
            Self::SplitUnread => f.write_str(
                "experts of gpt-oss one by one: transformers 5 and vLLM 0.32 look for them fused, and \
                 go on without them. Keep them with --exclude *.experts.*",
            ),
            Self::ExpertCount { expected, found } => write!(
                f,
                "a layer has {found} experts where config.json says {expected}: \
                 is the checkpoint complete?"
            ),
            Self::OtherUse => f.write_str(
                "kept: other nodes need its floats too, so that codes would only be added to them",
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
