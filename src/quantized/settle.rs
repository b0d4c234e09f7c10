//! Finding out whether a float head is a table that is quantized already.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Chunk, find, read_chunk};
use crate::checkpoint::{Checkpoint, CheckpointError, equal_bytes};
use crate::dialect::{Dialect, ExcludeList};
use crate::engine::{
    self, CHUNK_BYTES, ChunkBuffer, Comparison, EngineError, Resources, bytes_at_once, in_order,
    steps,
};
use crate::model::Model;
use crate::model::ties::{CodesTable, Tie};
use crate::plan::Plan;

/// Compares embedding and head, as [`engine::settle_tie`] says; where the table is quantized in the
/// source, the head is compared with what it stands for, every weight of it.
pub fn settle_tie(
    model: &Model<'_>,
    plan: &Plan,
    resources: &Resources<'_>,
) -> Result<Tie, EngineError> {
    let (table, head) = match &model.tie {
        Tie::OfCodes { table, head, matches: None } => (*table, *head),
        Tie::BothCodes { table, codes, others, matches: None } => {
            let matches = equal_parts(model.checkpoint, table, *codes, others, resources.cancel)?;
            let (table, codes, others) = (*table, *codes, others.clone());
            return Ok(Tie::BothCodes { table, codes, others, matches: Some(matches) });
        }
        _ => return engine::settle_tie(model, plan, resources),
    };
    let comparison = compare(model, table, head, resources)?;
    Ok(match comparison {
        Some(Comparison { found, .. }) if found.apart == 0 => {
            Tie::OfCodes { table, head, matches: Some(true) }
        }
        Some(comparison) => Tie::Apart {
            embedding: table.codes,
            head,
            distance: comparison.distance(table.shape[1]),
        },
        None => Tie::OfCodes { table, head, matches: Some(false) },
    })
}

/// Whether the parts of a quantized head are those of a table, as far as was looked before `cancel`.
fn equal_parts(
    checkpoint: &Checkpoint,
    table: &CodesTable,
    codes: usize,
    others: &[usize],
    cancel: &AtomicBool,
) -> Result<bool, CheckpointError> {
    let stored = |index: usize| (checkpoint, &checkpoint.tensors[index]);
    let go_on = || !cancel.load(Ordering::Relaxed);
    let equal = |a: usize, b: usize| equal_bytes(stored(a), stored(b), go_on);
    let zero_points = match (others.get(1), table.zero_points) {
        (Some(own), Some(of_table)) => equal(*own, of_table)?,
        (None, Some(of_table)) => {
            super::graph::are_in_the_middle(checkpoint, stored(of_table).1, table.bits)
        }
        (own, None) => own.is_none(),
    };
    Ok(zero_points && equal(codes, table.codes)? && equal(others[0], table.scales)?)
}

/// `None` if the table cannot be read.
fn compare(
    model: &Model<'_>,
    table: CodesTable,
    head: usize,
    resources: &Resources<'_>,
) -> Result<Option<Comparison>, EngineError> {
    let checkpoint = model.checkpoint;
    let layers = find(checkpoint, None, &ExcludeList::default(), Dialect::Onnx);
    let of_table = layers.iter().find(|layer| {
        layer.is_table && layer.parts.codes == Some(table.codes) && layer.problem.is_none()
    });
    let Some(layer) = of_table else { return Ok(None) };
    let head = model.tensor(head);
    let [rows, columns] = table.shape;
    let rows_a_job = (bytes_at_once(head, CHUNK_BYTES) / 4 / columns.max(1)).max(1);
    let jobs: Vec<_> = steps(rows, rows_a_job).collect();
    let found: Mutex<Vec<(usize, Comparison)>> = Mutex::default();
    in_order(
        resources,
        jobs.len(),
        |number, buffer: &mut ChunkBuffer| {
            let rows = jobs[number].clone();
            buffer.read(checkpoint, head, rows.start * columns..rows.end * columns)?;
            let chunk = read_chunk(checkpoint, layer, rows)?;
            let (Some(Chunk::Grouped { codes, scales, columns, scheme, kind }), Some(weights)) =
                (chunk, buffer.weights())
            else {
                return Ok(());
            };
            let chunk = crate::backend::GroupedChunk { columns, codes: &codes, scales: &scales };
            let part = Comparison::of(resources.backend, weights, chunk, &scheme, kind)?;
            found.lock().unwrap_or_else(PoisonError::into_inner).push((number, part));
            Ok(())
        },
        || {},
    )?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Some(Comparison::sum(found, |number| jobs[number].start * columns)))
}
