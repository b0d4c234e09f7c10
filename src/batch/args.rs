//! The command line.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use super::exit::Exit;
use crate::dialect::Dialect;
use crate::export::Part;
use crate::format::q4gsw::NibbleOrder;
use crate::format::{Format, ScaleDtype, ScaleSearch};
use crate::plan::Sharding;
use crate::recipe::{ExpertScale, Indivisible, Preset, Recipe, RecipeError, TiedOutcome};
use crate::report::{Column, Filter, GroupBy, UnknownColumn};

/// Opens a model checkpoint, shows what is in its weights, and quantizes it, on any GPU or on the
/// CPU, with the same bytes on each.
#[derive(Debug, Clone, Parser)]
#[command(name = "quantscope", version, max_term_width = 100, after_help = after_help())]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    /// What is done instead of opening a checkpoint.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// A Hugging Face checkpoint folder, one .safetensors file (with the config.json beside it), or an
    /// .onnx model. Without one the window goes on with what was open last
    #[arg(required_if_eq("batch", "true"))]
    pub checkpoint: Option<PathBuf>,

    /// List the formats: bits a weight, what shares a scale, and who loads them in which layout
    #[arg(long)]
    pub formats: bool,

    /// Work without a window
    #[arg(long)]
    pub batch: bool,

    /// Open CHECKPOINT in the window, as if it stood alone
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["batch", "checkpoint", "demo"],
        help_heading = "The window")]
    pub open: Option<PathBuf>,

    /// Open the small checkpoint that comes with the program
    #[arg(long, conflicts_with_all = ["batch", "checkpoint"], help_heading = "The window")]
    pub demo: bool,

    /// Draw a view of CHECKPOINT, or of the demo, into a PNG file, or write its numbers if FILE ends in
    /// .csv; needs no display
    #[arg(long, value_name = "FILE", conflicts_with = "batch", help_heading = "The window")]
    pub screenshot: Option<PathBuf>,

    /// The view: welcome, map, table, profile, experts, formats, microscope, ruler, histogram, scales,
    /// errors, outliers, regimes, compare, lessons, codecs, files, export
    #[arg(long, value_name = "NAME", conflicts_with = "batch", help_heading = "The window")]
    pub view: Option<String>,

    /// Select a tensor; views that look into one show it
    #[arg(long, value_name = "TENSOR", conflicts_with = "batch", help_heading = "The window")]
    pub select: Vec<String>,

    /// The expert of the tensor to look at, if it holds several
    #[arg(long, value_name = "N", requires = "select", help_heading = "The window")]
    pub expert: Option<u64>,

    /// The block to look at: its row and column among blocks and, if you like, the number of a weight
    /// in it, such as 12,3 or 12,3,7
    #[arg(long, value_name = "ROW,COLUMN[,N]", requires = "select", help_heading = "The window")]
    pub block: Option<String>,

    /// The format to see the tensor in, if not the recipe's
    #[arg(long, value_name = "FORMAT", requires = "select", help_heading = "The window")]
    pub seen_as: Option<Format>,

    /// Begin a lesson, 1 to 5, at its first step or another, such as 2 or 2.3
    #[arg(long, value_name = "N[.STEP]", conflicts_with_all = ["batch", "view"],
        help_heading = "The window")]
    pub lesson: Option<String>,

    /// The checkpoint to compare with, in the view compare
    #[arg(long, value_name = "OTHER", conflicts_with = "batch", help_heading = "The window")]
    pub compare: Option<PathBuf>,

    /// With --screenshot: dark text on a light ground
    #[arg(long, requires = "screenshot", help_heading = "The window")]
    pub light: bool,

    /// With --screenshot: width and height in points, such as 1440x900
    #[arg(long, value_name = "WxH", requires = "screenshot", help_heading = "The window",
        default_value = "1440x900", value_parser = super::size::parse_extent)]
    pub size: [u16; 2],

    /// Write the quantized, repaired or dequantized checkpoint into this folder, which must not exist; a
    /// quantized ONNX model also into a file that ends in .onnx
    #[arg(long, value_name = "PATH", help_heading = "What to do")]
    pub out: Option<PathBuf>,

    /// Print what would happen to every tensor, without reading a weight
    #[arg(long, help_heading = "What to do", conflicts_with_all = ["out", "stats", "verify"])]
    pub dry_run: bool,

    /// Print the statistics table, without writing a checkpoint
    #[arg(long, help_heading = "What to do", conflicts_with_all = ["out", "verify"])]
    pub stats: bool,

    /// Verify CHECKPOINT, which is quantized
    #[arg(long, help_heading = "What to do", conflicts_with_all = [
        "out", "format", "export", "recipe", "preset", "include", "exclude", "quantize_embeddings", "tied", "external_data",
        "scale_search", "scale_dtype", "nibbles", "expert_scale", "indivisible", "unserved", "max_shard_size", "report", "strict", "group_by",
        "filter", "sort"
    ])]
    pub verify: bool,

    /// Write CHECKPOINT, which is quantized, into --out as floats
    #[arg(long, help_heading = "What to do", requires = "out", conflicts_with_all = [
        "dry_run", "stats", "verify", "format", "export", "recipe", "preset", "include", "exclude",
        "quantize_embeddings", "tied", "external_data", "scale_search", "scale_dtype", "nibbles", "expert_scale", "indivisible", "unserved", "report", "strict"
    ])]
    pub dequantize: bool,

    /// Write CHECKPOINT, which is quantized, into --out with what can be repaired of it repaired;
    /// nothing is written if nothing is wrong
    #[arg(long, help_heading = "What to do", requires = "out", conflicts_with_all = [
        "dequantize", "dry_run", "stats", "verify", "format", "export", "recipe", "preset", "include",
        "exclude", "quantize_embeddings", "tied", "external_data", "scale_search", "scale_dtype", "nibbles", "expert_scale", "indivisible",
        "unserved", "report", "strict", "group_by", "filter", "sort"
    ])]
    pub repair: bool,

    /// With --verify: the float checkpoint that it was made from, to compare every weight with
    // clap waives a requirement that conflicts with what is given, so conflicts are said too.
    #[arg(long, value_name = "SOURCE", help_heading = "What to do", requires = "verify",
        conflicts_with_all = ["out", "dry_run", "stats"])]
    pub against: Option<PathBuf>,

    /// Replace --out if it is an earlier export, or empty
    #[arg(long, help_heading = "What to do", requires = "out",
        conflicts_with_all = ["dry_run", "stats", "verify"])]
    pub overwrite: bool,

    /// Do not wait until the disk has everything: faster, but a power failure soon after may damage the
    /// output
    #[arg(long, help_heading = "What to do", requires = "out",
        conflicts_with_all = ["dry_run", "stats", "verify"])]
    pub no_sync: bool,

    /// Go on with what an interrupted run has left beside --out, if source and recipe are the same, and leave
    /// it so if this run is interrupted
    #[arg(long, help_heading = "What to do", requires = "out",
        conflicts_with_all = ["dry_run", "stats", "verify", "dequantize", "repair"])]
    pub resume: bool,

    /// Make only the files of one of N parts, such as 2/8, on this machine; --finish puts them together
    #[arg(long, value_name = "I/N", help_heading = "What to do", requires_all = ["out", "batch"],
        conflicts_with_all = ["dry_run", "stats", "verify", "dequantize", "repair", "report"])]
    pub part: Option<Part>,

    /// Put the parts beside --out together: check that all are there, write index and config, verify
    #[arg(long, help_heading = "What to do", requires_all = ["out", "batch"],
        conflicts_with_all = ["dry_run", "stats", "verify", "dequantize", "repair", "part", "resume"])]
    pub finish: bool,

    /// Format of quantized tensors; --formats lists them
    #[arg(long, value_name = "FORMAT", help_heading = "How")]
    pub format: Option<Format>,

    /// Layout of the export: modelopt, compressed-tensors, executorch, q4gsw (ExecuTorch's packed
    /// constants, to look at or for WebGPU programs; ExecuTorch loads executorch), onnx, onnx-qdq
    /// [default: onnx for an ONNX model, else modelopt]
    #[arg(long, value_name = "DIALECT", help_heading = "How")]
    pub export: Option<Dialect>,

    /// Rules and settings from a TOML file; the command line wins over it
    #[arg(long, value_name = "FILE", help_heading = "How")]
    pub recipe: Option<PathBuf>,

    /// Rules to start from: linear, mlp, experts [default: linear]
    #[arg(long, value_name = "NAME", help_heading = "How")]
    pub preset: Option<Preset>,

    /// Quantize what matches this glob over tensor or module names
    #[arg(long, value_name = "GLOB", help_heading = "How")]
    pub include: Vec<String>,

    /// Keep what matches this glob; wins over everything
    #[arg(long, value_name = "GLOB", help_heading = "How")]
    pub exclude: Vec<String>,

    /// How block scales are chosen: max, mse, sweep, four-over-six, k-quant, no-clipping, where the
    /// format has a choice [default: max]
    #[arg(long, value_name = "HOW", help_heading = "How")]
    pub scale_search: Option<ScaleSearch>,

    /// Float type of stored scales: own (that of the weights), or f32, which WebGPU needs; codes are then
    /// found in f32 arithmetic. In the layouts executorch and q4gsw [default: own]
    #[arg(long, value_name = "TYPE", help_heading = "How")]
    pub scale_dtype: Option<ScaleDtype>,

    /// Which of two codes has the low nibble in the layout q4gsw, in an embedding table that no head
    /// reads [default: even-low]
    #[arg(long, value_name = "ORDER", help_heading = "How")]
    pub nibbles: Option<NibbleOrder>,

    /// Quantize embedding tables like linear layers
    #[arg(long, help_heading = "How")]
    pub quantize_embeddings: bool,

    /// Whether each expert has its own scale of the whole tensor, or all of a layer share one for
    /// each projection [default: each]
    #[arg(long, value_name = "WHICH", help_heading = "How")]
    pub expert_scale: Option<ExpertScale>,

    /// What becomes of a table that the head shares, when it is to be quantized [default: share in
    /// executorch, q4gsw and ONNX, else keep]
    #[arg(long, value_name = "OUTCOME", help_heading = "How")]
    pub tied: Option<TiedOutcome>,

    /// What becomes of a tensor whose rows are no multiple of the block: keep, smaller (the same
    /// format with a smaller block), pad (zeros at the ends of rows), or a format's name
    /// [default: keep]
    #[arg(long, value_name = "WHAT", help_heading = "How")]
    pub indivisible: Option<Indivisible>,

    /// Write the tensors of an ONNX model to a file of their own beside it, also where one file could
    /// hold them; a table that a head shares needs no Reshape then
    #[arg(long, help_heading = "How")]
    pub external_data: bool,

    /// Allow a format that no known runtime loads in the chosen layout
    #[arg(long, help_heading = "How")]
    pub unserved: bool,

    /// Spread the output over files of at most this size, such as 5GB or 512MiB; otherwise as the
    /// source is. An ONNX model has one file, or one for all tensors
    #[arg(long, value_name = "SIZE", help_heading = "How", value_parser = super::size::parse)]
    pub max_shard_size: Option<u64>,

    /// Who computes: auto (a GPU if there is a real one, else the CPU), cpu, gpu (the best adapter
    /// there is, software drivers included), or a part of an adapter's name
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "How")]
    pub device: String,

    /// Number of threads; each takes about 5 MiB, 13 MiB for ONNX models, and 60 MiB with a GPU [default: one a core, at most 16; 4 with a GPU]
    #[arg(long, value_name = "N", requires = "batch", help_heading = "How")]
    pub threads: Option<std::num::NonZeroUsize>,

    /// Put the rows of the statistics table together [default: none with --stats or --filter, else
    /// layer]
    #[arg(long, value_name = "WHAT", requires = "batch", help_heading = "What to show")]
    pub group_by: Option<GroupBy>,

    /// Show the rows of tables and reports that fit all of these terms, such as 'down_proj amax>2':
    /// down_proj is in the name, -norm is not, sqnr<20, zeros>=5 (percent), before>1M (binary),
    /// role=mlp, format!=kept; quotes keep spaces together. A number that was not measured fits none
    #[arg(
        long,
        value_name = "TERMS",
        requires = "batch",
        help_heading = "What to show",
        allow_hyphen_values = true
    )]
    pub filter: Option<Filter>,

    /// Sort the rows of tables and reports by a column, upwards, or downwards with :desc, such as
    /// amax:desc; rows without a value come last
    #[arg(long, value_name = "COLUMN[:desc]", requires = "batch", help_heading = "What to show",
        value_parser = sort)]
    pub sort: Option<(Column, bool)>,

    /// Write the statistics table of every tensor, or of those that --filter leaves, to a .json,
    /// .csv or .md file, or to an .html page with pictures
    #[arg(long, value_name = "FILE", requires = "batch", help_heading = "What to show")]
    pub report: Option<PathBuf>,

    /// Fail, and write nothing, if there is any finding
    #[arg(long, requires = "batch", help_heading = "What to show")]
    pub strict: bool,

    /// Print one JSON object a line instead, for programs: what begins, how far it is, what was found, how
    /// it ended
    #[arg(long, requires = "batch", help_heading = "What to show")]
    pub json: bool,

    /// Print findings and errors only
    #[arg(long, short, requires = "batch", help_heading = "What to show")]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  quantscope MODEL
  quantscope --open MODEL --format nvfp4 --select lm_head.weight --block 12,3 --view microscope
  quantscope --batch MODEL --format nvfp4 --dry-run
  quantscope --batch MODEL --format nvfp4 --export modelopt --out MODEL-nvfp4
  quantscope --batch MODEL --stats --report stats.csv
  quantscope --batch MODEL-nvfp4 --verify --against MODEL
  quantscope doctor";

/// What stands at the end of the help.
fn after_help() -> String {
    let code = |exit: &Exit| format!("\n  {:<4} {}", exit.code(), exit.meaning());
    let codes: String = Exit::ALL.iter().map(code).collect();
    format!("{EXAMPLES}\n\nExit codes:{codes}")
}

/// What is done instead of opening a checkpoint. A folder of such a name is opened as `./doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Tell what this machine has, and test every device against the specification of every format
    Doctor {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// A column to sort by, and whether downwards.
fn sort(text: &str) -> Result<(Column, bool), UnknownColumn> {
    match text.strip_suffix(":desc") {
        Some(column) => Ok((column.parse()?, true)),
        None => Ok((text.parse()?, false)),
    }
}

impl Args {
    /// The checkpoint; the current folder if none is named.
    pub fn checkpoint(&self) -> &Path {
        self.checkpoint.as_deref().unwrap_or(Path::new("."))
    }

    /// Whether it says what to do without a window.
    pub fn has_mode(&self) -> bool {
        self.mode().is_ok()
    }

    /// What was asked for.
    pub fn mode(&self) -> Result<Mode<'_>, UsageError> {
        if let (true, Some(out)) = (self.dequantize, &self.out) {
            return Ok(Mode::Dequantize { out });
        }
        if let (true, Some(out)) = (self.repair, &self.out) {
            return Ok(Mode::Repair { out });
        }
        match (&self.out, self.dry_run, self.stats, self.verify) {
            (Some(out), false, false, false) => Ok(Mode::Export { out }),
            (None, true, false, false) => Ok(Mode::DryRun),
            (None, false, true, false) => Ok(Mode::Stats),
            (None, false, false, true) => Ok(Mode::Verify),
            _ => Err(UsageError::NothingToDo),
        }
    }

    /// How an output is divided into files.
    pub fn sharding(&self) -> Sharding {
        self.max_shard_size.map_or(Sharding::AsSource, Sharding::AtMost)
    }

    /// The recipe of the file, if there is one, under that of the flags. Fails if the file cannot be read
    /// or is no recipe.
    pub fn recipe(&self) -> Result<Recipe, RecipeError> {
        let mut recipe = match &self.recipe {
            Some(file) => Recipe::read(file)?,
            None => Recipe::default(),
        };
        recipe.preset = self.preset.or(recipe.preset);
        recipe.format = self.format.or(recipe.format);
        recipe.export = self.export.or(recipe.export);
        recipe.tied = self.tied.or(recipe.tied);
        recipe.external_data |= self.external_data;
        recipe.indivisible = self.indivisible.unwrap_or(recipe.indivisible);
        recipe.expert_scale = self.expert_scale.unwrap_or(recipe.expert_scale);
        recipe.scale_dtype = self.scale_dtype.unwrap_or(recipe.scale_dtype);
        recipe.nibbles = self.nibbles.unwrap_or(recipe.nibbles);
        recipe.scale_search = self.scale_search.unwrap_or(recipe.scale_search);
        recipe.unserved |= self.unserved;
        recipe.quantize_embeddings |= self.quantize_embeddings;
        recipe.include.extend(self.include.iter().cloned());
        recipe.exclude.extend(self.exclude.iter().cloned());
        Ok(recipe)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Quantize into a folder.
    Export {
        /// The folder.
        out: &'a PathBuf,
    },
    /// Write a quantized checkpoint as floats.
    Dequantize {
        /// The folder.
        out: &'a PathBuf,
    },
    /// Repair a quantized checkpoint.
    Repair {
        /// The folder.
        out: &'a PathBuf,
    },
    /// Print the plan.
    DryRun,
    /// Print statistics.
    Stats,
    /// Verify.
    Verify,
}

impl<'a> Mode<'a> {
    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Export { .. } => "export",
            Self::Dequantize { .. } => "dequantize",
            Self::Repair { .. } => "repair",
            Self::DryRun => "dry_run",
            Self::Stats => "stats",
            Self::Verify => "verify",
        }
    }

    /// What it is to write.
    pub const fn out(self) -> Option<&'a PathBuf> {
        match self {
            Self::Export { out } | Self::Dequantize { out } | Self::Repair { out } => Some(out),
            Self::DryRun | Self::Stats | Self::Verify => None,
        }
    }
}

/// A command line that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No mode.
    #[error(
        "say what to do: --out DIR, --dry-run, --stats or --verify; --dequantize and --repair go with --out"
    )]
    NothingToDo,
    /// The recipe would be removed with what is replaced.
    #[error("the recipe {} is in the folder that --out replaces: move it, or choose another --out", recipe.display())]
    RecipeInOut {
        /// The recipe.
        recipe: PathBuf,
    },
    /// No window in this build.
    #[error("this program was built without a window: pass --batch")]
    NoWindow,
    /// A mode that the window has no flag for.
    #[error(
        "--out, --dry-run, --stats, --verify, --dequantize and --repair go with --batch; the window has them \
         in its menus"
    )]
    NoBatch,
    /// A view that does not exist.
    #[error("unknown view \"{name}\"; there are {known}")]
    UnknownView {
        /// Its name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A block that is none.
    #[error("--block: {0}")]
    NoBlock(String),
    /// A lesson that is none.
    #[error("--lesson: there is no lesson {0}; there are 1 to 5, and steps such as 2.3")]
    NoLesson(String),
    /// An export without a format.
    #[error("say what to quantize to: --format nvfp4, or format = \"nvfp4\" in the recipe")]
    NoFormat,
}
