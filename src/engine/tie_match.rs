//! Whether a head is the embedding table, as far as a quantized table can tell.

use std::sync::{Mutex, PoisonError};

use super::group::{Encoder, Method};
use super::schedule::CHUNK_BYTES;
use super::workers::in_order;
use super::{ChunkBuffer, EngineError, Resources};
use crate::backend::{GroupedChunk, Nvfp4Chunk, TieMatch};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::format::Nvfp4Tables;
use crate::format::nvfp4::Scaling;
use crate::numeric::FloatKind;

/// Quantizes a table `[vocabulary, hidden]` as an export would, and compares every weight of a head
/// of the same shape with what the codes stand for. `None` if the two cannot be compared.
pub fn tie_match(
    resources: &Resources<'_>,
    checkpoint: &Checkpoint,
    (table, head): (&Tensor, &Tensor),
    method: Method,
) -> Result<Option<TieMatch>, EngineError> {
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
    let rows_a_job = (CHUNK_BYTES / widest / together).max(1) * together;
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
    let found: Mutex<Vec<(usize, TieMatch)>> = Mutex::default();
    let compare = |job: usize, buffer: &mut ChunkBuffer| {
        let result =
            compare(resources, checkpoint, (table, head), range(job), &encoder, head_kind, buffer)?;
        found.lock().unwrap_or_else(PoisonError::into_inner).push((job, result));
        Ok(())
    };
    in_order(resources, jobs, compare, || {})?;

    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(job, _)| *job);
    let mut total = TieMatch::default();
    for (job, part) in found {
        total.weights += part.weights;
        total.apart += part.apart;
        total.first = total.first.or(part.first.map(|at| range(job).start + at));
    }
    Ok(Some(total))
}

fn compare(
    resources: &Resources<'_>,
    checkpoint: &Checkpoint,
    (table, head): (&Tensor, &Tensor),
    range: std::ops::Range<u64>,
    encoder: &Encoder,
    head_kind: FloatKind,
    buffer: &mut ChunkBuffer,
) -> Result<TieMatch, EngineError> {
    let columns = table.shape[1] as usize;
    let backend = resources.backend;
    let mut head_buffer = ChunkBuffer::default();
    buffer.read(checkpoint, table, range.clone())?;
    head_buffer.read(checkpoint, head, range)?;
    let (Some(weights), Some(others)) = (buffer.weights(), head_buffer.weights()) else {
        return Ok(TieMatch::default());
    };
    match encoder {
        Encoder::Nvfp4(encoder) => {
            let tables = &encoder.tables;
            let quantized = backend.nvfp4_quantize(weights, tables)?;
            let chunk = Nvfp4Chunk { codes: &quantized.codes, scales: &quantized.scales };
            let scaling = Scaling { kind: head_kind, ..tables.scaling };
            Ok(backend.nvfp4_match(others, chunk, &Nvfp4Tables::new(scaling))?)
        }
        Encoder::Grouped(coder) => {
            let quantized = backend.grouped_quantize(weights, columns, coder)?;
            let chunk =
                GroupedChunk { columns, codes: &quantized.codes, scales: &quantized.scales };
            Ok(backend.grouped_match(others, chunk, &coder.scheme, coder.kind)?)
        }
    }
}
