//! What has to be read: scales, and with a source every weight.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::scales::{LayerScales, groups, scales};
use super::written::{self, Written};
use super::{Check, LayerError, MIN_SQNR_DB, Opened, check};
use crate::checkpoint::{Checkpoint, CheckpointError, Stored, Tensor, equal_part};
use crate::engine::{
    CHUNK_BYTES, ChunkBuffer, EngineError, Piece, Resources, bytes_at_once, in_order, steps,
};
use crate::format::Format;
use crate::format::packing::Packing;
use crate::quantized::{Layer, global_scale, read_chunk};
use crate::stats::{ErrorSums, ScaleHealth, WeightSums};

/// Checks that needed reading, and the errors that were found.
pub struct Compared {
    pub checks: Vec<Check>,
    pub errors: Vec<LayerError>,
}

/// A piece of work.
enum Job<'a> {
    /// Rows of a layer, as [`read_chunk`] counts them.
    Rows { layer: usize, rows: Range<u64> },
    /// The same of a layer whose measurements are known: whether they are read as they were meant.
    Sample { layer: usize, rows: Range<u64> },
    /// Bytes of a tensor that is stored as it was.
    Bytes { kept: Stored<'a>, source: Stored<'a>, range: Range<u64> },
    /// Pieces that were written.
    Pieces(&'a [Piece]),
}

/// What was found in one layer.
#[derive(Default)]
struct Found {
    scales: ScaleHealth,
    nan_codes: u64,
    weights: WeightSums,
    errors: ErrorSums,
}

impl Found {
    fn merge(&mut self, part: &Self) {
        self.scales.merge(&part.scales);
        self.nan_codes += part.nan_codes;
        self.weights.merge(&part.weights);
        self.errors.merge(&part.errors);
    }
}

/// Bytes of output that [`compare`] will go through.
pub fn work_bytes(opened: &Opened<'_>, written: Option<&Written<'_>>) -> u64 {
    let layers = opened.layers.iter().filter(|layer| layer.problem.is_none());
    let bytes = |layer: &Layer| match written.and_then(|written| written.measured(layer)) {
        Some(_) => windows(opened, layer).iter().map(|rows| rows.end - rows.start).sum(),
        None => layer.lines(),
    } * layer.line_weights();
    let packed: u64 = layers.map(bytes).sum();
    packed
        + match written {
            Some(written) => written.pieces.iter().map(|piece| piece.bytes as u64).sum::<u64>(),
            None => kept_pairs(opened).iter().map(|[kept, _]| kept.1.bytes).sum(),
        }
}

/// Tensors that both checkpoints have in one form.
fn kept_pairs<'a>(opened: &'a Opened<'_>) -> Vec<[Stored<'a>; 2]> {
    let Some(source) = opened.source else { return Vec::new() };
    let pairs = opened.checkpoint.tensors.iter().filter_map(|tensor| {
        let other = opened.origin(&tensor.name)?;
        let are_alike = (tensor.dtype, &tensor.shape) == (other.dtype, &other.shape);
        are_alike.then_some([(&opened.checkpoint, tensor), (source, other)])
    });
    pairs.collect()
}

/// Reads and compares. Only layers without a structural problem are given. What is known of an output
/// that was just written is not found out again.
pub fn compare(
    resources: &Resources<'_>,
    opened: &Opened<'_>,
    layers: &[&Layer],
    written: Option<&Written<'_>>,
) -> Result<Compared, EngineError> {
    let global_scales: Vec<f32> =
        layers.iter().map(|layer| scale_of(opened, layer)).collect::<Result<_, _>>()?;
    let jobs = jobs(opened, layers, written);
    let nothing = || Mutex::new(layers.iter().map(|_| Found::default()).collect::<Vec<_>>());
    let (found, sampled) = (nothing(), nothing());
    let changed: Mutex<Vec<String>> = Mutex::default();
    let lost: Mutex<Vec<String>> = Mutex::default();

    in_order(
        resources,
        jobs.len(),
        |number, buffer| {
            match &jobs[number] {
                Job::Rows { layer, rows } => {
                    let part = read_rows(resources, opened, layers[*layer], rows, buffer)?;
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found[*layer].merge(&part);
                    resources.progress.add((rows.end - rows.start) * layers[*layer].line_weights());
                }
                Job::Sample { layer, rows } => {
                    let part = read_rows(resources, opened, layers[*layer], rows, buffer)?;
                    let mut sampled = sampled.lock().unwrap_or_else(PoisonError::into_inner);
                    sampled[*layer].merge(&part);
                    resources.progress.add((rows.end - rows.start) * layers[*layer].line_weights());
                }
                Job::Pieces(pieces) => {
                    let problems = written.map(|written| written.read_back(pieces, buffer));
                    lost.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(problems.transpose()?.into_iter().flatten());
                    resources.progress.add(pieces.iter().map(|piece| piece.bytes as u64).sum());
                }
                Job::Bytes { kept, source, range } => {
                    if !equal_part(*kept, *source, range.clone())? {
                        changed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(kept.1.name.clone());
                    }
                    resources.progress.add(range.end - range.start);
                }
            }
            Ok(())
        },
        || {},
    )?;

    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sampled = sampled.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut unread = Vec::new();
    for ((layer, found), sample) in layers.iter().zip(&mut found).zip(&sampled) {
        let Some(measured) = written.and_then(|written| written.measured(layer)) else { continue };
        found.scales = measured.scales;
        found.nan_codes = sample.nan_codes;
        found.weights.sum_squares = measured.signal_squares;
        found.errors = measured.errors;
        let ratio = sample.errors.sqnr_db(sample.weights.sum_squares);
        if ratio.is_some_and(|ratio| ratio < MIN_SQNR_DB) {
            unread.push(format!("{} is read as something else than was written", layer.weight));
        }
    }
    let mut changed = changed.into_inner().unwrap_or_else(PoisonError::into_inner);
    changed.sort();
    changed.dedup();
    let read = layers.iter().zip(global_scales).zip(&found);
    let read: Vec<LayerScales<'_>> = read
        .map(|((layer, global), found)| LayerScales {
            layer,
            global,
            health: found.scales,
            nan_codes: found.nan_codes,
        })
        .collect();
    let mut checks = vec![scales(&read), groups(opened, &read)];
    if let Some(written) = written {
        let lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        checks.push(written::check_pieces(written, &opened.checkpoint, lost));
    }
    let mut errors = Vec::new();
    if opened.source.is_some() {
        let kept = kept_pairs(opened).len();
        let problems =
            changed.into_iter().map(|name| format!("{name} differs from the source")).collect();
        checks.push(check(
            "kept tensors",
            problems,
            format!("{kept} equal the source byte for byte"),
        ));
        errors = layer_errors(opened, layers, &found);
        checks.push(error_check(&errors, unread));
    }
    Ok(Compared { checks, errors })
}

/// Rows of a layer that are read to see that they are what was meant: at its ends and in the middle. Where a
/// few take long, since the source is stored column by column, not at its beginning: whatever is off adds up.
fn windows(opened: &Opened<'_>, layer: &Layer) -> Vec<Range<u64>> {
    const WINDOW_WEIGHTS: u64 = 16 << 10;
    let (all, step) = (layer.lines(), layer.lines_in(WINDOW_WEIGHTS));
    // Of a tile some rows will do.
    let packed_together = layer.packing().map_or(1, Packing::rows) as u64;
    let few = (WINDOW_WEIGHTS / layer.line_weights().max(1)).max(1);
    let length = step.min(few.next_multiple_of(packed_together));
    let last = all.saturating_sub(1) / step * step;
    let mut starts = vec![0, last / 2 / step * step, last];
    starts.dedup();
    let source = source_weight(opened, layer);
    let takes_long = source.is_some_and(|(_, source)| source.is_stored_by_columns());
    let skipped = usize::from(takes_long && starts.len() > 2);
    starts.into_iter().skip(skipped).map(|start| start..(start + length).min(all)).collect()
}

fn jobs<'a>(
    opened: &'a Opened<'_>,
    layers: &[&Layer],
    written: Option<&'a Written<'_>>,
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        if written.is_some_and(|written| written.measured(layer).is_some()) {
            jobs.extend(
                windows(opened, layer).into_iter().map(|rows| Job::Sample { layer: i, rows }),
            );
            continue;
        }
        let source = source_weight(opened, layer);
        let bytes = source.map_or(CHUNK_BYTES, |(_, source)| bytes_at_once(source, CHUNK_BYTES));
        // So much of the source at most, whatever its type.
        let step = layer.lines_in(bytes / 4);
        jobs.extend(steps(layer.lines(), step).map(|rows| Job::Rows { layer: i, rows }));
    }
    if let Some(written) = written {
        // What was kept is among them, and was hashed as it came from the source.
        jobs.extend(written.chunks(CHUNK_BYTES).map(Job::Pieces));
        return jobs;
    }
    for [kept, source] in kept_pairs(opened) {
        let ranges = steps(kept.1.bytes, CHUNK_BYTES);
        jobs.extend(ranges.map(|range| Job::Bytes { kept, source, range }));
    }
    jobs
}

/// The global scale of a layer that has one; 1 where it has none.
fn scale_of(opened: &Opened<'_>, layer: &Layer) -> Result<f32, CheckpointError> {
    match layer.format {
        Some(Format::Nvfp4) => global_scale(&opened.checkpoint, layer),
        _ => Ok(1.0),
    }
}

fn read_rows(
    resources: &Resources<'_>,
    opened: &Opened<'_>,
    layer: &Layer,
    rows: &Range<u64>,
    buffer: &mut ChunkBuffer,
) -> Result<Found, EngineError> {
    let mut found = Found::default();
    let Some(chunk) = read_chunk(&opened.checkpoint, layer, rows.clone())? else {
        return Ok(found);
    };
    // A scale of the whole tensor is read with every chunk.
    if rows.start == 0 || layer.format != Some(Format::Fp8) {
        found.scales = chunk.health();
    }
    found.nan_codes = chunk.nan_codes();
    let source = source_weight(opened, layer);
    if source.is_some() && !chunk.is_sound() {
        found.errors.sum_squares = f64::NAN;
        return Ok(found);
    }
    if let Some((source_checkpoint, source)) = source {
        let (stored, own) = (layer.line_weights(), source_line(layer, source));
        buffer.read(source_checkpoint, source, rows.start * own..rows.end * own)?;
        if layer.is_fused() {
            buffer.arrange_in_blocks(layer.shape[2] as usize);
        } else if own != stored {
            buffer.pad_rows(own as usize, stored as usize);
        }
        if let Some(weights) = buffer.weights() {
            (found.weights, found.errors) = chunk.errors(resources.backend, weights)?;
        }
    }
    Ok(found)
}

/// The float weight that a layer was made from, if it fits it.
pub fn source_weight<'a>(
    opened: &'a Opened<'_>,
    layer: &Layer,
) -> Option<(&'a Checkpoint, &'a Tensor)> {
    let source = opened.source.filter(|_| layer.altered_by.is_none())?;
    let tensor = opened.weight_origin(&layer.weight)?;
    let same_shape = match (&tensor.shape[..], &layer.shape[..]) {
        ([rows, columns], [stored_rows, stored]) => {
            let block = match layer.format {
                // A row that is one group looks as if it were a whole row, however long.
                Some(Format::Int { group: None, .. }) if stored.is_power_of_two() => *stored,
                format => format.map_or(1, Format::block_len) as u64,
            };
            let padded = columns.next_multiple_of(block.max(1));
            rows == stored_rows && (columns == stored || padded == *stored)
        }
        (shape, stored) => shape == stored,
    };
    (tensor.float_kind().is_some() && same_shape).then_some((source, tensor))
}

/// Weights of the source in a line of a layer, which may have been given zeros at its end.
fn source_line(layer: &Layer, source: &Tensor) -> u64 {
    match source.shape[..] {
        [_, columns] => columns,
        _ => layer.line_weights(),
    }
}

fn layer_errors(opened: &Opened<'_>, layers: &[&Layer], found: &[Found]) -> Vec<LayerError> {
    let compared =
        layers.iter().zip(found).filter(|(layer, _)| source_weight(opened, layer).is_some());
    compared
        .map(|(layer, found)| LayerError {
            name: layer.weight.clone(),
            sqnr_db: found.errors.sqnr_db(found.weights.sum_squares),
            max_abs_error: found.errors.largest(),
        })
        .collect()
}

fn error_check(errors: &[LayerError], unread: Vec<String>) -> Check {
    // A layer of zeros has no ratio, and no error either.
    let sqnr = |error: &LayerError| match error.sqnr_db {
        None if error.max_abs_error == 0.0 => f64::INFINITY,
        None => f64::NEG_INFINITY,
        Some(ratio) => ratio,
    };
    let holds = |error: &&LayerError| sqnr(error) >= MIN_SQNR_DB;
    let lost = errors.iter().filter(|error| !holds(error));
    let mut problems = unread;
    problems.extend(lost.map(|error| match error.max_abs_error.is_nan() {
        true => format!("{} stands for weights that are no numbers", error.name),
        false => format!("{} has only {:.1} dB", error.name, sqnr(error)),
    }));
    let worst = errors.iter().min_by(|a, b| sqnr(a).total_cmp(&sqnr(b)));
    let detail = match worst {
        Some(worst) => format!("worst {:.2} dB, in {}", sqnr(worst), worst.name),
        None => "no layer has a source".to_owned(),
    };
    check("error", problems, detail)
}
