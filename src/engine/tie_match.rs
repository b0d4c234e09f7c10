//! Whether a head is the embedding table, as far as a quantized table can tell.

use std::sync::{Mutex, PoisonError};

use super::group::{Encoder, Method};
use super::schedule::{CHUNK_BYTES, bytes_at_once};
use super::workers::in_order;
use super::{ChunkBuffer, EngineError, Resources};
use crate::backend::{Backend, GroupedChunk, Nvfp4Chunk, TieMatch, Weights};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::format::nvfp4::Scaling;
use crate::format::{Nvfp4Tables, Scheme};
use crate::model::ties::TieDistance;
use crate::numeric::FloatKind;

/// Quantizes a table `[vocabulary, hidden]` as an export would, and compares every weight of a head
/// of the same shape with what the codes stand for. `None` if the two cannot be compared.
pub fn tie_match(
    resources: &Resources<'_>,
    checkpoint: &Checkpoint,
    (table, head): (&Tensor, &Tensor),
    method: Method,
) -> Result<Option<Comparison>, EngineError> {
    let ([rows, columns], Some(kind), Some(head_kind)) =
        (&table.shape[..], table.float_kind(), head.float_kind())
    else {
        return Ok(None);
    };
    let (format, dialect) = (method.format, method.dialect);
    let divides = columns % format.block_len() as u64 == 0;
    if table.shape != head.shape || table.is_empty() || !divides {
        return Ok(None);
    }
    let widest = 8 * columns;
    let together = dialect.rows_together(format);
    let bytes = bytes_at_once(table, CHUNK_BYTES).max(bytes_at_once(head, CHUNK_BYTES));
    let rows_a_job = (bytes / widest / together).max(1) * together;
    let jobs = rows.div_ceil(rows_a_job) as usize;
    let range = |job: usize| {
        let first = job as u64 * rows_a_job;
        first * columns..(first + rows_a_job).min(*rows) * columns
    };

    let amax = Mutex::new(0u32);
    let find_amax = |job: usize, buffer: &mut ChunkBuffer| {
        buffer.read(checkpoint, table, range(job))?;
        let Some(weights) = buffer.weights() else { return Ok(()) };
        let found = resources.backend.amax(weights)?;
        let mut amax = amax.lock().unwrap_or_else(PoisonError::into_inner);
        *amax = found.max(*amax);
        Ok(())
    };
    in_order(resources, jobs, find_amax, || {})?;
    let amax = kind.widen(amax.into_inner().unwrap_or_else(PoisonError::into_inner));
    if !amax.is_finite() {
        return Ok(None);
    }

    let encoder = Encoder::new(method, kind, kind, amax);
    let found: Mutex<Vec<(usize, Comparison)>> = Mutex::default();
    let compare = |job: usize, buffer: &mut ChunkBuffer| {
        let result =
            compare(resources, checkpoint, (table, head), range(job), &encoder, head_kind, buffer)?;
        found.lock().unwrap_or_else(PoisonError::into_inner).push((job, result));
        Ok(())
    };
    in_order(resources, jobs, compare, || {})?;

    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Some(Comparison::sum(found, |job| range(job).start)))
}

/// How a head compares with what codes stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many weights are apart, and the first of them.
    pub found: TieMatch,
    /// How far that one is, in hundredths of a step; `None` if steps have no length there, or are not
    /// all alike.
    pub hundredths: Option<u64>,
}

impl Comparison {
    /// Weights compared with what a chunk under one level of scales stands for; codes are of weights of
    /// type `made_of`.
    pub fn of(
        backend: &dyn Backend,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<Self, EngineError> {
        let found = backend.grouped_match(weights, chunk, scheme, made_of)?;
        let steps = found.first.map(|at| {
            let at = at as usize;
            let (row, column) = (at / chunk.columns, at % chunk.columns);
            let group = chunk.scales[scheme.scope.index(row, column, chunk.columns)];
            let value = scheme.decode(chunk.codes[at], group);
            f64::from((weights.get(at) - value).abs()) / f64::from(group.scale.abs())
        });
        let hundredths =
            steps.filter(|steps| steps.is_finite()).map(|steps| (steps * 100.0) as u64);
        Ok(Self { found, hundredths })
    }

    /// Adds up parts, each with its number; `start` says at which weight a part begins.
    pub fn sum(mut parts: Vec<(usize, Self)>, start: impl Fn(usize) -> u64) -> Self {
        parts.sort_by_key(|(number, _)| *number);
        let mut total = Self::default();
        for (number, part) in parts {
            total.found.weights += part.found.weights;
            total.found.apart += part.found.apart;
            if total.found.first.is_none() {
                total.found.first = part.found.first.map(|at| start(number) + at);
                total.hundredths = part.hundredths;
            }
        }
        total
    }

    /// What is told of it; rows have `columns` weights.
    pub fn distance(self, columns: u64) -> TieDistance {
        let at = self.found.first.unwrap_or(0);
        TieDistance {
            apart: self.found.apart,
            weights: self.found.weights,
            first: [at / columns.max(1), at % columns.max(1)],
            hundredths: self.hundredths,
        }
    }
}

fn compare(
    resources: &Resources<'_>,
    checkpoint: &Checkpoint,
    (table, head): (&Tensor, &Tensor),
    range: std::ops::Range<u64>,
    encoder: &Encoder,
    head_kind: FloatKind,
    buffer: &mut ChunkBuffer,
) -> Result<Comparison, EngineError> {
    let columns = table.shape[1] as usize;
    let backend = resources.backend;
    let mut head_buffer = ChunkBuffer::default();
    buffer.read(checkpoint, table, range.clone())?;
    head_buffer.read(checkpoint, head, range)?;
    let (Some(weights), Some(others)) = (buffer.weights(), head_buffer.weights()) else {
        return Ok(Comparison::default());
    };
    match encoder {
        Encoder::Nvfp4(encoder) => {
            let tables = &encoder.tables;
            let quantized = backend.nvfp4_quantize(weights, tables)?;
            let chunk = Nvfp4Chunk { codes: &quantized.codes, scales: &quantized.scales };
            let scaling = Scaling { kind: head_kind, ..tables.scaling };
            let found = backend.nvfp4_match(others, chunk, &Nvfp4Tables::new(scaling))?;
            Ok(Comparison { found, hundredths: None })
        }
        Encoder::Grouped(coder) => {
            let quantized = backend.grouped_quantize(weights, columns, coder)?;
            let chunk =
                GroupedChunk { columns, codes: &quantized.codes, scales: &quantized.scales };
            Comparison::of(backend, others, chunk, &coder.scheme, coder.kind)
        }
    }
}
