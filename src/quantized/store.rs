//! Rows of a quantized layer as their tensors hold them: what [`read_chunk`](super::read_chunk)
//! reads, back in bytes.

use std::ops::Range;

use super::Layer;
use super::chunk::{Chunk, places};
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype};
use crate::engine::codes_to_rows;
use crate::format::GroupScale;
use crate::format::packing::Packing;
use crate::numeric::{FloatKind, e8m0};

/// Bytes of rows, and where they begin in their tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRows {
    /// Packed codes.
    pub codes: Vec<u8>,
    /// Where they begin.
    pub codes_at: u64,
    /// Scales.
    pub scales: Vec<u8>,
    /// Where they begin.
    pub scales_at: u64,
}

/// The bytes of a chunk that was read from `rows` of a layer and then changed. Where the codes were
/// not, they are read again, with whatever pads their rows. `None` for a layer that has a problem.
pub fn store(
    checkpoint: &Checkpoint,
    layer: &Layer,
    rows: &Range<u64>,
    chunk: Chunk,
    codes_changed: bool,
) -> Result<Option<StoredRows>, CheckpointError> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let (Some(stored_codes), Some(stored), Some(format)) =
        (tensor(layer.parts.codes), tensor(layer.parts.scales), layer.format)
    else {
        return Ok(None);
    };
    let (codes_place, scales_place) = places(layer, format, stored.dtype, rows);
    let (mut codes, scales) = match chunk {
        Chunk::Nvfp4 { codes, scales, .. } => {
            let columns = *layer.shape.last().unwrap_or(&1) as usize;
            (if layer.is_fused() { codes_to_rows(&codes, columns) } else { codes }, scales)
        }
        Chunk::Grouped { codes, scales, columns, .. } => {
            let packing = layer.packing().unwrap_or(Packing::Bytes);
            (packing.pack(codes, columns), scale_bytes(stored.dtype, &scales))
        }
    };
    if !codes_changed {
        codes = vec![0; codes_place.len()];
        checkpoint.read_at(stored_codes, &mut codes, codes_place.start as u64)?;
    }
    let (codes_at, scales_at) = (codes_place.start as u64, scales_place.start as u64);
    Ok(Some(StoredRows { codes, codes_at, scales, scales_at }))
}

fn scale_bytes(dtype: Dtype, scales: &[GroupScale]) -> Vec<u8> {
    let values = scales.iter().map(|group| group.scale);
    let short = |kind: FloatKind, value: f32| (kind.pattern(value) as u16).to_le_bytes();
    match dtype {
        Dtype::BF16 => values.flat_map(|value| short(FloatKind::Bf16, value)).collect(),
        Dtype::F16 => values.flat_map(|value| short(FloatKind::F16, value)).collect(),
        Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
        _ => values.map(e8m0::encode).collect(),
    }
}
