//! The largest magnitude of a tensor.

use std::sync::atomic::AtomicBool;

use super::InspectError;
use super::reader::{SHEET_WEIGHTS, check};
use crate::backend::Backend;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::engine::{ChunkBuffer, steps};
use crate::numeric::FloatKind;

/// Reads all of a tensor of floats; NaN or infinite if it holds that.
pub(super) fn amax_of(
    checkpoint: &Checkpoint,
    tensor: &Tensor,
    backend: &dyn Backend,
    cancel: &AtomicBool,
) -> Result<f32, InspectError> {
    let (mut buffer, mut amax) = (ChunkBuffer::default(), 0);
    for range in steps(tensor.len(), 4 * SHEET_WEIGHTS) {
        check(cancel)?;
        buffer.read(checkpoint, tensor, range)?;
        let Some(weights) = buffer.weights() else { continue };
        amax = backend.amax(weights)?.max(amax);
    }
    Ok(kind_of(tensor).widen(amax))
}

/// The type that a tensor of floats is read as.
pub(super) fn kind_of(tensor: &Tensor) -> FloatKind {
    tensor.float_kind().unwrap_or(FloatKind::F32)
}
