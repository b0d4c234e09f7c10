//! What a backend does. There are two, [`crate::cpu`] and [`crate::gpu`], with the same kernels by
//! the same names. Codes, scales and values are bit-identical on both; only sums, which are for
//! display, may differ in their last digits.

use crate::format::{Coder, GroupScale, Nvfp4Tables, Scheme};
use crate::numeric::FloatKind;
use crate::stats::{ErrorSums, WeightSums};

/// Consecutive weights of one tensor as they are stored, little-endian.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// Their type.
    pub kind: FloatKind,
    /// Their bytes, aligned for their type.
    pub bytes: &'a [u8],
}

impl Weights<'_> {
    /// Number of weights.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.kind.bytes()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One of them.
    pub fn get(&self, number: usize) -> f32 {
        let width = self.kind.bytes();
        let bytes = &self.bytes[number * width..(number + 1) * width];
        self.kind.widen(bytes.iter().rev().fold(0, |bits, &byte| (bits << 8) | u32::from(byte)))
    }
}

/// A chunk of NVFP4: whole blocks, in order.
#[derive(Debug, Clone, Copy)]
pub struct Nvfp4Chunk<'a> {
    /// Two codes a byte, even element in the low nibble; 8 bytes a block.
    pub codes: &'a [u8],
    /// One E4M3 scale a block.
    pub scales: &'a [u8],
}

/// A chunk under one level of scales: whole rows, beginning where scales do.
#[derive(Debug, Clone, Copy)]
pub struct GroupedChunk<'a> {
    /// Length of a row.
    pub columns: usize,
    /// A code a byte, as [`crate::format::Element`] has them.
    pub codes: &'a [u8],
    /// The scales, as [`crate::format::Scope::index`] numbers them.
    pub scales: &'a [GroupScale],
}

/// What quantizing whole rows gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouped {
    /// A code a byte.
    pub codes: Vec<u8>,
    /// The scales.
    pub scales: Vec<GroupScale>,
    /// Largest magnitude, as [`Backend::amax`] gives it. Where it is not finite, nothing else here
    /// has a meaning.
    pub amax: u32,
    /// Sums over the weights.
    pub weights: WeightSums,
    /// Sums over their quantization errors.
    pub errors: ErrorSums,
}

/// How a matrix compares with what codes stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TieMatch {
    /// Weights that were compared.
    pub weights: u64,
    /// Weights that are further away than half a step (at the largest and smallest codes: a step).
    pub apart: u64,
    /// The first of them.
    pub first: Option<u64>,
}

/// A grid of cells, row by row. A cell is three words, of which a coarser cell has the largest of each: so
/// what is to be the smallest is stored with its bits flipped. 0 is nothing.
pub type GridCell = [u32; 3];

/// What quantizing a chunk gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Two codes a byte, even element in the low nibble; 8 bytes a block.
    pub codes: Vec<u8>,
    /// One E4M3 scale a block.
    pub scales: Vec<u8>,
    /// Sums over the weights.
    pub weights: WeightSums,
    /// Sums over their quantization errors.
    pub errors: ErrorSums,
}

/// How a device failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It had no memory for the call; smaller pieces may fit.
    OutOfMemory,
    /// It refused the work, was lost, or did not answer: it is not to be used again.
    Broken,
}

/// The device failed; the message says what and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {message}. Try again with --device cpu")]
pub struct BackendError {
    /// The device's name.
    pub device: String,
    /// How it failed.
    pub fault: Fault,
    /// What failed, without a full stop.
    pub message: String,
}

/// The kernels. All are safe to call from several threads at once; a call blocks until its result
/// is there. Lengths are whole blocks unless said otherwise; an empty chunk gives an empty result.
pub trait Backend: Send + Sync {
    /// What to call the device in a sentence.
    fn name(&self) -> &str;

    /// How many callers at once keep the device busy; more only take memory.
    fn useful_callers(&self) -> usize;

    /// How many bytes of weights a call should get: as many as make its costs small, and for a CPU so few
    /// that they stay in its caches from step to step.
    fn chunk_bytes(&self) -> u64;

    /// Makes do with about half of the memory a call, after [`Fault::OutOfMemory`]. Gives whether it can.
    fn shrink(&self) -> bool {
        false
    }

    /// What went wrong so far and was made up for, a sentence each without a full stop.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// The largest magnitude, as the bit pattern of the weights' own kind (sign bit clear). A
    /// pattern above the kind's last finite one says that there is a NaN or an infinity. Any
    /// length; 0 for no weights.
    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError>;

    /// Quantizes finite weights. `tables.scaling.kind` is `weights.kind`.
    fn nvfp4_quantize(
        &self,
        weights: Weights<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Quantized, BackendError>;

    /// The f32 values that codes stand for.
    fn nvfp4_dequantize(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError>;

    /// Sums over weights and over their differences from what the codes stand for.
    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError>;

    /// Compares weights with what codes stand for, as [`crate::format::nvfp4::matches`] says.
    fn nvfp4_match(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError>;

    /// Quantizes whole rows of `columns` weights, of type `coder.kind`.
    fn grouped_quantize(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError>;

    /// The f32 values that codes stand for.
    fn grouped_dequantize(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError>;

    /// Sums over weights and over their differences from what the codes stand for.
    fn grouped_errors(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError>;

    /// Compares weights with what codes stand for, as [`Scheme::matches`] says; the codes are of
    /// weights of type `made_of`.
    fn grouped_match(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<TieMatch, BackendError>;

    /// Makes a grid of cells, whole rows of `columns`, half as high and half as wide, rounded up. Each
    /// cell has the largest of each word of the up to four cells that it stands for.
    fn halve(&self, cells: &[GridCell], columns: usize) -> Result<Vec<GridCell>, BackendError>;
}
