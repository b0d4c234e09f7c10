//! Checkpoints that are quantized already: their layers, told from names, types and shapes, whatever
//! tool wrote them, and what their config says about them.

mod chunk;
mod config;
mod find;
mod graph;
mod ignore;
mod mend;
mod plan;
mod q4gsw;
mod qdq;
mod run;
mod settle;
mod store;
mod torchao;

use crate::checkpoint::{Checkpoint, Tensor};
use crate::dialect::Dialect;
use crate::format::Format;
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::packing::Packing;
use crate::model::module_of;

pub use chunk::{Chunk, global_scale, is_sound, read_chunk};
pub use config::{Foreign, Stated, dialect_of, format_of_group};
pub use find::find;
pub use graph::{part, shared_tables};
pub use ignore::IgnoreList;
pub use mend::{Mended, global_scale_of_zeros};
pub use plan::{Outputs, float_type, plan, scales_activations};
pub use q4gsw::stated as stated_packed;
pub use qdq::shared as shared_floats;
pub use run::{floats, run, run_entries};
pub use settle::settle_tie;
pub use store::{StoredRows, store};

/// A quantized layer: the parts of it that are there, and what is wrong with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The module, which weights of grouped experts share; for fused experts their own name.
    pub module: String,
    /// Name of the weight that it stands for.
    pub weight: String,
    /// The dialect it is stored in.
    pub dialect: Dialect,
    /// Its format; `None` if its parts do not tell.
    pub format: Option<Format>,
    /// Dimensions of the weight, outermost first; empty if its parts do not tell.
    pub shape: Vec<u64>,
    /// Where its parts are.
    pub parts: Parts,
    /// Whether it is a table of an ONNX model, whose rows have no room for part of a block.
    pub is_table: bool,
    /// How its codes and scales lie, where its file says that.
    pub packed_as: Option<PackedAs>,
    /// What makes it unreadable.
    pub problem: Option<String>,
    /// What its values also depend on, and is not read here: a scale of its inputs, an order of its
    /// columns. Its scales and codes can be looked at all the same.
    pub altered_by: Option<String>,
}

/// How codes and scales lie, where a file says that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedAs {
    /// How codes are packed.
    pub packing: Packing,
    /// Whether scales of one group of columns follow one another, and not those of a row:
    /// [`scale_place`](crate::format::q4gsw::scale_place).
    pub scales_by_group: bool,
    /// Whether it is a head that reads the codes of a table.
    pub reads_table: bool,
}

/// Indices in [`Checkpoint::tensors`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Parts {
    /// Packed codes.
    pub codes: Option<usize>,
    /// One scale a group.
    pub scales: Option<usize>,
    /// One scale for the tensor, over those.
    pub global_scale: Option<usize>,
    /// One zero point a group.
    pub zero_points: Option<usize>,
    /// Rows and columns.
    pub shape: Option<usize>,
}

impl Parts {
    /// Those that are there.
    pub fn all(&self) -> impl Iterator<Item = usize> + use<> {
        [self.codes, self.scales, self.global_scale, self.zero_points, self.shape]
            .into_iter()
            .flatten()
    }
}

impl Layer {
    /// The layer of a weight with these parts, of which no more is told yet.
    fn of(weight: String, dialect: Dialect, parts: Parts) -> Self {
        Self {
            module: module_of(&weight).to_owned(),
            weight,
            dialect,
            format: None,
            shape: Vec::new(),
            parts,
            is_table: false,
            packed_as: None,
            problem: None,
            altered_by: None,
        }
    }

    /// Whether it holds fused experts `[experts, inputs, outputs]`, whose blocks run down columns.
    pub fn is_fused(&self) -> bool {
        self.shape.len() == 3 && self.format == Some(Format::Nvfp4)
    }

    /// Experts that it holds; 1 for a matrix.
    pub fn experts(&self) -> u64 {
        if self.shape.len() == 3 { self.shape[0] } else { 1 }
    }

    /// Rows of all its matrices; of fused experts lines of 16 inputs.
    pub fn lines(&self) -> u64 {
        match self.shape[..] {
            [rows, _] => rows,
            [experts, inputs, _] if self.is_fused() => experts * (inputs / BLOCK_LEN as u64),
            [experts, rows, _] => experts * rows,
            _ => 0,
        }
    }

    /// Shape of the float weight that a loader without quantization expects. Experts of gpt-oss are
    /// stored with a row for each output, and are floats with a row for each input.
    pub fn float_shape(&self) -> Vec<u64> {
        match self.shape[..] {
            [experts, outputs, inputs] if !self.is_fused() => vec![experts, inputs, outputs],
            _ => self.shape.clone(),
        }
    }

    /// Weights of a row, or of a line.
    pub fn line_weights(&self) -> u64 {
        let columns = self.shape.last().copied().unwrap_or(0);
        if self.is_fused() { columns * BLOCK_LEN as u64 } else { columns }
    }

    /// As many lines as hold so many weights, and can be read together; at least as many as have to.
    pub fn lines_in(&self, weights: u64) -> u64 {
        let together = self.format.map_or(1, |format| self.dialect.rows_together(format));
        (weights / (self.line_weights().max(1) * together)).max(1) * together
    }

    /// How its codes are packed.
    pub fn packing(&self) -> Option<Packing> {
        if let Some(packed) = self.packed_as {
            return Some(packed.packing);
        }
        match (self.is_table, self.format?) {
            (true, Format::Int { bits, .. }) => Some(Packing::Blocks { bits, len: 1 }),
            (_, format) => self.dialect.stored_packing(format),
        }
    }

    /// The part that holds its codes.
    pub fn codes<'a>(&self, checkpoint: &'a Checkpoint) -> Option<&'a Tensor> {
        self.parts.codes.map(|i| &checkpoint.tensors[i])
    }
}

/// Bytes that the parts of a layer take.
pub fn stored_bytes(checkpoint: &Checkpoint, layer: &Layer) -> u64 {
    layer.parts.all().map(|i| checkpoint.tensors[i].bytes).sum()
}
