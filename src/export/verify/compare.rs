//! What has to be read: scales, and with a source every weight.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::layers::{Layer, fused};
use super::{Check, LayerError, MIN_SQNR_DB, Opened, check};
use crate::backend::Nvfp4Chunk;
use crate::checkpoint::{CheckpointError, Tensor};
use crate::engine::{CHUNK_BYTES, ChunkBuffer, EngineError, Resources, codes_to_blocks, in_order};
use crate::format::Nvfp4Tables;
use crate::format::nvfp4::{BLOCK_LEN, Rule, Scaling};
use crate::stats::{ErrorSums, ScaleHealth, WeightSums};

/// Checks that needed reading, and the errors that were found.
pub struct Compared {
    pub checks: Vec<Check>,
    pub errors: Vec<LayerError>,
}

/// A piece of work.
enum Job<'a> {
    /// Blocks of a layer.
    Blocks { layer: usize, blocks: Range<u64> },
    /// Bytes of a tensor that is stored as it was.
    Bytes { tensor: &'a Tensor, source: &'a Tensor, range: Range<u64> },
}

/// What was found in one layer.
#[derive(Default)]
struct Found {
    scales: ScaleHealth,
    weights: WeightSums,
    errors: ErrorSums,
}

/// Bytes of output that [`compare`] will go through.
pub fn work_bytes(opened: &Opened<'_>) -> u64 {
    let bytes = |part: Option<usize>| part.map_or(0, |i| opened.checkpoint.tensors[i].bytes);
    let layers = opened.layers.iter().filter(|layer| layer.problem.is_none());
    let packed: u64 = layers.map(|layer| bytes(layer.codes)).sum();
    let kept: u64 = kept_pairs(opened).iter().map(|(tensor, _)| tensor.bytes).sum();
    packed + kept
}

/// Tensors that both checkpoints have in one form.
fn kept_pairs<'a>(opened: &'a Opened<'_>) -> Vec<(&'a Tensor, &'a Tensor)> {
    let pairs = opened.checkpoint.tensors.iter().filter_map(|tensor| {
        let other = opened.origin(&tensor.name)?;
        (tensor.dtype == other.dtype && tensor.shape == other.shape).then_some((tensor, other))
    });
    pairs.collect()
}

/// Reads and compares. Only layers without a structural problem are given.
pub fn compare(
    resources: &Resources<'_>,
    opened: &Opened<'_>,
    layers: &[&Layer],
) -> Result<Compared, EngineError> {
    let global_scales: Vec<f32> =
        layers.iter().map(|layer| global_scale(opened, layer)).collect::<Result<_, _>>()?;
    let jobs = jobs(opened, layers);
    let found: Mutex<Vec<Found>> = Mutex::new(layers.iter().map(|_| Found::default()).collect());
    let changed: Mutex<Vec<String>> = Mutex::default();

    in_order(
        resources,
        jobs.len(),
        |number, buffer| {
            match &jobs[number] {
                Job::Blocks { layer, blocks } => {
                    let part = read_blocks(
                        resources,
                        opened,
                        layers[*layer],
                        global_scales[*layer],
                        blocks,
                        buffer,
                    )?;
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    let total = &mut found[*layer];
                    total.scales.merge(&part.scales);
                    total.weights.merge(&part.weights);
                    total.errors.merge(&part.errors);
                    resources.progress.add((blocks.end - blocks.start) * 8);
                }
                Job::Bytes { tensor, source, range } => {
                    if !equal_bytes(opened, tensor, source, range)? {
                        changed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(tensor.name.clone());
                    }
                    resources.progress.add(range.end - range.start);
                }
            }
            Ok(())
        },
        || {},
    )?;

    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut changed = changed.into_inner().unwrap_or_else(PoisonError::into_inner);
    changed.sort();
    changed.dedup();
    let mut checks =
        vec![scales(layers, &global_scales, &found), groups(opened, layers, &global_scales)];
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
        checks.push(error_check(&errors));
    }
    Ok(Compared { checks, errors })
}

fn jobs<'a>(opened: &'a Opened<'_>, layers: &[&Layer]) -> Vec<Job<'a>> {
    // A chunk of source is at most CHUNK_BYTES, whatever its type.
    let most = CHUNK_BYTES / (4 * BLOCK_LEN as u64);
    let mut jobs = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        // Blocks down the columns come in groups of whole rows.
        let group = layer.columns_of_blocks.map_or(1, |columns| columns as u64);
        let blocks_a_job = (most / group).max(1) * group;
        let blocks = layer.scales.map_or(0, |scales| opened.checkpoint.tensors[scales].bytes);
        jobs.extend(steps(blocks, blocks_a_job).map(|blocks| Job::Blocks { layer: i, blocks }));
    }
    for (tensor, source) in kept_pairs(opened) {
        jobs.extend(steps(tensor.bytes, CHUNK_BYTES).map(|range| Job::Bytes {
            tensor,
            source,
            range,
        }));
    }
    jobs
}

fn steps(length: u64, step: u64) -> impl Iterator<Item = Range<u64>> {
    (0..length.div_ceil(step)).map(move |i| i * step..((i + 1) * step).min(length))
}

fn global_scale(opened: &Opened<'_>, layer: &Layer) -> Result<f32, CheckpointError> {
    let mut bytes = [0; 4];
    if let Some(i) = layer.global_scale {
        opened.checkpoint.read_at(&opened.checkpoint.tensors[i], &mut bytes, 0)?;
    }
    Ok(f32::from_le_bytes(bytes))
}

fn read_blocks(
    resources: &Resources<'_>,
    opened: &Opened<'_>,
    layer: &Layer,
    global_scale: f32,
    blocks: &Range<u64>,
    buffer: &mut ChunkBuffer,
) -> Result<Found, EngineError> {
    let mut found = Found::default();
    let (Some(codes), Some(scales)) = (layer.codes, layer.scales) else { return Ok(found) };
    let checkpoint = &opened.checkpoint;
    let count = (blocks.end - blocks.start) as usize;
    let mut scale_bytes = vec![0; count];
    checkpoint.read_at(&checkpoint.tensors[scales], &mut scale_bytes, blocks.start)?;
    found.scales = ScaleHealth::of(&scale_bytes);

    let usable =
        global_scale > 0.0 && global_scale.is_finite() && scale_bytes.iter().all(|&s| s < 0x7F);
    let source = source_weight(opened, layer).filter(|_| usable);
    if let Some((source_checkpoint, source)) = source {
        let mut code_bytes = vec![0; count * 8];
        checkpoint.read_at(&checkpoint.tensors[codes], &mut code_bytes, blocks.start * 8)?;
        let block_len = BLOCK_LEN as u64;
        buffer.read(source_checkpoint, source, blocks.start * block_len..blocks.end * block_len)?;
        if let Some(columns) = layer.columns_of_blocks {
            buffer.arrange_in_blocks(columns);
            code_bytes = codes_to_blocks(&code_bytes, columns);
        }
        if let Some(weights) = buffer.weights() {
            let tables =
                Nvfp4Tables::new(Scaling::stored(Rule::Dynamic, weights.kind, global_scale));
            let chunk = Nvfp4Chunk { codes: &code_bytes, scales: &scale_bytes };
            (found.weights, found.errors) =
                resources.backend.nvfp4_errors(weights, chunk, &tables)?;
        }
    }
    Ok(found)
}

/// The float weight that a layer was made from, if it fits it.
pub fn source_weight<'a>(
    opened: &'a Opened<'_>,
    layer: &Layer,
) -> Option<(&'a crate::checkpoint::Checkpoint, &'a Tensor)> {
    let source = opened.source?;
    let codes = &opened.checkpoint.tensors[layer.codes?];
    let tensor = opened.origin(&codes.name)?;
    // Two codes a byte along the dimension that blocks run along.
    let mut shape = codes.shape.clone();
    let axis = if layer.columns_of_blocks.is_some() { 2 } else { 1 };
    *shape.iter_mut().rev().nth(axis - 1)? *= 2;
    let fits = tensor.float_kind().is_some() && tensor.shape == shape;
    fits.then_some((source, tensor))
}

fn equal_bytes(
    opened: &Opened<'_>,
    tensor: &Tensor,
    source: &Tensor,
    range: &Range<u64>,
) -> Result<bool, EngineError> {
    let length = (range.end - range.start) as usize;
    let (mut ours, mut theirs) = (vec![0; length], vec![0; length]);
    opened.checkpoint.read_at(tensor, &mut ours, range.start)?;
    if let Some(checkpoint) = opened.source {
        checkpoint.read_at(source, &mut theirs, range.start)?;
    }
    Ok(ours == theirs)
}

fn scales(layers: &[&Layer], global_scales: &[f32], found: &[Found]) -> Check {
    let (mut problems, mut blocks) = (Vec::new(), 0);
    for ((layer, &global), found) in layers.iter().zip(global_scales).zip(found) {
        if !(global.is_finite() && global > 0.0) {
            problems.push(format!("{} has the global scale {global}", layer.module));
        }
        let health = &found.scales;
        blocks += health.blocks;
        if health.zero + health.invalid > 0 {
            let (zero, invalid) = (health.zero, health.invalid);
            problems.push(format!(
                "{} has {zero} zero and {invalid} NaN or negative scales",
                layer.module
            ));
        }
    }
    check(
        "scales",
        problems,
        format!("{blocks} block scales and {} global scales, finite and above zero", layers.len()),
    )
}

fn groups(opened: &Opened<'_>, layers: &[&Layer], global_scales: &[f32]) -> Check {
    let names = layers.iter().map(|layer| layer.module.as_str());
    let scales: BTreeMap<&str, u32> =
        names.zip(global_scales.iter().map(|s| s.to_bits())).collect();
    let scale_of = |layer: &Layer| scales.get(layer.module.as_str());
    let groups = fused(&opened.layers);
    let torn = groups
        .iter()
        .filter(|group| group.iter().any(|layer| scale_of(layer) != scale_of(group[0])));
    let problems = torn
        .map(|group| {
            let names: Vec<&str> = group.iter().map(|layer| layer.module.as_str()).collect();
            format!("{} are fused by runtimes, but differ in global scale", names.join(", "))
        })
        .collect();
    check("groups", problems, format!("{} fused groups share their global scale", groups.len()))
}

fn layer_errors(opened: &Opened<'_>, layers: &[&Layer], found: &[Found]) -> Vec<LayerError> {
    let compared =
        layers.iter().zip(found).filter(|(layer, _)| source_weight(opened, layer).is_some());
    compared
        .map(|(layer, found)| LayerError {
            name: layer.weight.clone(),
            sqnr_db: found.errors.sqnr_db(found.weights.sum_squares),
            max_abs_error: found.errors.max_abs,
        })
        .collect()
}

fn error_check(errors: &[LayerError]) -> Check {
    // A layer of zeros has no ratio, and no error either.
    let sqnr = |error: &LayerError| match error.sqnr_db {
        None if error.max_abs_error == 0.0 => f64::INFINITY,
        None => f64::NEG_INFINITY,
        Some(ratio) => ratio,
    };
    let holds = |error: &&LayerError| sqnr(error) >= MIN_SQNR_DB;
    let lost = errors.iter().filter(|error| !holds(error));
    let problems = lost.map(|e| format!("{} has only {:.1} dB", e.name, sqnr(e))).collect();
    let worst = errors.iter().min_by(|a, b| sqnr(a).total_cmp(&sqnr(b)));
    let detail = match worst {
        Some(worst) => format!("worst {:.2} dB, in {}", sqnr(worst), worst.name),
        None => "no layer has a source".to_owned(),
    };
    check("error", problems, detail)
}
