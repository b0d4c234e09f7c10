//! Reading rows of a quantized layer.

use std::ops::Range;

use super::{Layer, PackedAs};
use crate::backend::{Backend, BackendError, GroupedChunk, Nvfp4Chunk, Weights};
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, Tensor};
use crate::dialect::ZeroPoints;
use crate::engine::codes_to_blocks;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN, Scaling};
use crate::format::packing::{Packing, unpack_zero_points, unpack_zero_points_in_rows};
use crate::format::q4gsw::scale_place;
use crate::format::{Element, Format, GroupScale, Nvfp4Tables, Scheme, Scope};
use crate::numeric::{FloatKind, e4m3, e8m0};
use crate::stats::{ErrorSums, ScaleHealth, WeightSums};

/// Whether a scale is one that values can have: finite and above zero.
pub fn is_sound(scale: f32) -> bool {
    scale.is_finite() && scale > 0.0
}

/// Rows of a layer, as kernels take them.
#[derive(Debug, Clone)]
pub enum Chunk {
    /// NVFP4.
    Nvfp4 {
        /// Packed codes, block by block.
        codes: Vec<u8>,
        /// E4M3 scales.
        scales: Vec<u8>,
        /// The scales of the tensor.
        scaling: Scaling,
    },
    /// One level of scales.
    Grouped {
        /// A code a byte.
        codes: Vec<u8>,
        /// The scales.
        scales: Vec<GroupScale>,
        /// Length of a row.
        columns: usize,
        /// The arithmetic.
        scheme: Scheme,
        /// The float type of the scales, if they are floats.
        kind: FloatKind,
    },
}

impl Chunk {
    /// The values of all scales that it has.
    pub fn scales(&self) -> Vec<f32> {
        match self {
            Self::Nvfp4 { scales, .. } => scales.iter().map(|code| e4m3::decode(*code)).collect(),
            Self::Grouped { scales, .. } => scales.iter().map(|group| group.scale).collect(),
        }
    }

    /// What its scales look like.
    pub fn health(&self) -> ScaleHealth {
        match self {
            Self::Nvfp4 { scales, .. } => ScaleHealth::of(scales),
            Self::Grouped { scales, scheme, kind, .. } => {
                let (min_normal, largest) = scheme.store.range(*kind);
                let values = scales.iter().map(|group| scheme.magnitude(*group));
                ScaleHealth::of_values(values, min_normal, largest)
            }
        }
    }

    /// Whether every scale is a finite number that the format may have, so that the values have a meaning.
    pub fn is_sound(&self) -> bool {
        let global = match self {
            Self::Nvfp4 { scaling, .. } => scaling.global_scale,
            Self::Grouped { .. } => 1.0,
        };
        let signed = matches!(self, Self::Grouped { scheme, .. } if scheme.has_signed_scales());
        let sound =
            |scale: &f32| is_sound(*scale) || *scale == 0.0 || (signed && scale.is_finite());
        is_sound(global) && self.scales().iter().all(sound)
    }

    /// Codes that are no number.
    pub fn nan_codes(&self) -> u64 {
        match self {
            Self::Grouped { codes, scheme, .. } if scheme.element == Element::E4m3 => {
                codes.iter().filter(|code| e4m3::decode(**code).is_nan()).count() as u64
            }
            _ => 0,
        }
    }

    /// The f32 values that its codes stand for, row by row.
    pub fn values(&self, backend: &dyn Backend) -> Result<Vec<f32>, BackendError> {
        match self {
            Self::Nvfp4 { codes, scales, scaling } => {
                backend.nvfp4_dequantize(Nvfp4Chunk { codes, scales }, &Nvfp4Tables::new(*scaling))
            }
            Self::Grouped { codes, scales, columns, scheme, .. } => {
                let columns = *columns;
                backend.grouped_dequantize(GroupedChunk { columns, codes, scales }, scheme)
            }
        }
    }

    /// Sums over weights and over their differences from what the codes stand for.
    pub fn errors(
        &self,
        backend: &dyn Backend,
        weights: Weights<'_>,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        match self {
            Self::Nvfp4 { codes, scales, scaling } => {
                let tables = Nvfp4Tables::new(Scaling { kind: weights.kind, ..*scaling });
                backend.nvfp4_errors(weights, Nvfp4Chunk { codes, scales }, &tables)
            }
            Self::Grouped { codes, scales, columns, scheme, .. } => {
                let columns = *columns;
                backend.grouped_errors(weights, GroupedChunk { columns, codes, scales }, scheme)
            }
        }
    }
}

/// Reads rows of a matrix, or blocks of fused experts: `rows` are then lines of 16 inputs each,
/// counted through all experts, and blocks come column by column. `None` for a layer that has a
/// problem. Rows begin where [`Dialect::rows_together`](crate::dialect::Dialect::rows_together) allows.
pub fn read_chunk(
    checkpoint: &Checkpoint,
    layer: &Layer,
    rows: Range<u64>,
) -> Result<Option<Chunk>, CheckpointError> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let (Some(codes), Some(stored), Some(format), None) =
        (tensor(layer.parts.codes), tensor(layer.parts.scales), layer.format, &layer.problem)
    else {
        return Ok(None);
    };
    let read = |tensor: &Tensor, range: Range<usize>| {
        let mut bytes = vec![0; range.len()];
        checkpoint.read_at(tensor, &mut bytes, range.start as u64)?;
        Ok::<_, CheckpointError>(bytes)
    };
    let columns = *layer.shape.last().unwrap_or(&1) as usize;
    let (first, end) = (rows.start as usize, rows.end as usize);
    let (bytes, scales) = places(layer, format, stored.dtype, &rows);
    let bytes = read(codes, bytes)?;
    let scales = match layer.packed_as {
        Some(PackedAs { scales_by_group: true, .. }) => {
            scales_by_row(checkpoint, layer, stored, &rows)?
        }
        _ => read(stored, scales)?,
    };

    let Some(scheme) = format.scheme(layer.dialect.arithmetic()) else {
        let codes = if layer.is_fused() { codes_to_blocks(&bytes, columns) } else { bytes };
        let global_scale = global_scale(checkpoint, layer)?;
        let scaling = Scaling::stored(layer.dialect.nvfp4_rule(), FloatKind::F32, global_scale);
        return Ok(Some(Chunk::Nvfp4 { codes, scales, scaling }));
    };

    let packing = layer.packing().unwrap_or(Packing::Bytes);
    let signed = matches!(scheme.element, Element::Int(_));
    let codes = packing.unpack(&bytes, columns, signed);
    let mut scales: Vec<GroupScale> =
        scale_values(stored.dtype, &scales).into_iter().map(GroupScale::symmetric).collect();
    if let Some(zero_points) = tensor(layer.parts.zero_points) {
        let bits = scheme.element.bits();
        let across = scheme.scope.across(columns);
        let unpacked = match layer.dialect.zero_points() {
            ZeroPoints::Rows => {
                let row_bytes = (across * usize::from(bits)).div_ceil(8);
                let packed = read(zero_points, first * row_bytes..end * row_bytes)?;
                unpack_zero_points_in_rows(&packed, across, bits)
            }
            ZeroPoints::Columns => {
                let word_row = |row: usize| (row * usize::from(bits)).div_ceil(32) * across * 4;
                let packed = read(zero_points, word_row(first)..word_row(end))?;
                unpack_zero_points(&packed, end - first, across, bits)
            }
            ZeroPoints::Bytes => {
                let bytes = read(zero_points, first * across..end * across)?;
                bytes.into_iter().map(u8::cast_signed).collect()
            }
        };
        for (scale, zero_point) in scales.iter_mut().zip(unpacked) {
            scale.zero_point = zero_point;
        }
    }
    Ok(Some(Chunk::Grouped { codes, scales, columns, scheme, kind: scale_kind(stored.dtype) }))
}

/// Scales of rows that are stored group by group, brought into the order of rows.
fn scales_by_row(
    checkpoint: &Checkpoint,
    layer: &Layer,
    stored: &Tensor,
    rows: &Range<u64>,
) -> Result<Vec<u8>, CheckpointError> {
    let all_rows = layer.lines() as usize;
    let groups = stored.shape.first().copied().unwrap_or(0) as usize;
    let (first, count) = (rows.start as usize, (rows.end - rows.start) as usize);
    let scale = stored.dtype.bitsize() / 8;
    let mut by_row = vec![0; groups * count * scale];
    let mut of_group = vec![0; count * scale];
    for group in 0..groups {
        let at = scale_place(group, first, all_rows) * scale;
        checkpoint.read_at(stored, &mut of_group, at as u64)?;
        for (row, bytes) in of_group.chunks_exact(scale).enumerate() {
            let at = (row * groups + group) * scale;
            by_row[at..at + scale].copy_from_slice(bytes);
        }
    }
    Ok(by_row)
}

/// The bytes that rows take in the tensors of codes and of scales.
pub fn places(
    layer: &Layer,
    format: Format,
    scale_dtype: Dtype,
    rows: &Range<u64>,
) -> (Range<usize>, Range<usize>) {
    let columns = *layer.shape.last().unwrap_or(&1) as usize;
    let (first, end) = (rows.start as usize, rows.end as usize);
    let Some(scheme) = format.scheme(layer.dialect.arithmetic()) else {
        // A line of fused experts has a block in each column.
        let across = if layer.is_fused() { columns } else { columns / BLOCK_LEN };
        let blocks = first * across..end * across;
        return (blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES, blocks);
    };
    let packing = layer.packing().unwrap_or(Packing::Bytes);
    let (begin, count) = match scheme.scope {
        Scope::Tensor => (0, 1),
        scope => (scope.index(first, 0, columns), scope.count(end - first, columns)),
    };
    let bytes = scale_dtype.bitsize() / 8;
    (
        packing.bytes(first, columns)..packing.bytes(end, columns),
        begin * bytes..(begin + count) * bytes,
    )
}

/// The second level of scales of a layer, as it is stored; 0 if it has none.
pub fn global_scale(checkpoint: &Checkpoint, layer: &Layer) -> Result<f32, CheckpointError> {
    let Some(i) = layer.parts.global_scale else { return Ok(0.0) };
    let tensor = &checkpoint.tensors[i];
    let mut bytes = vec![0; (tensor.dtype.bitsize() / 8).max(1)];
    checkpoint.read_at(tensor, &mut bytes, 0)?;
    Ok(scale_values(tensor.dtype, &bytes).first().copied().unwrap_or(0.0))
}

fn scale_kind(dtype: Dtype) -> FloatKind {
    match dtype {
        Dtype::BF16 => FloatKind::Bf16,
        Dtype::F16 => FloatKind::F16,
        _ => FloatKind::F32,
    }
}

fn scale_values(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let short = |bytes: &[u8; 2]| u32::from(u16::from_le_bytes(*bytes));
    match dtype {
        Dtype::BF16 => {
            bytes.as_chunks().0.iter().map(|b| FloatKind::Bf16.widen(short(b))).collect()
        }
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| FloatKind::F16.widen(short(b))).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        _ => bytes.iter().map(|byte| e8m0::decode(*byte)).collect(),
    }
}
