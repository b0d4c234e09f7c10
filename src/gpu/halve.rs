//! Halving grids on the GPU, in pairs of rows that a slot takes.

use super::device::Gpu;
use super::gpu_data::Params;
use super::kernels::Kernel;
use super::slot::F32_BLOCK_BYTES;
use crate::backend::{Backend, BackendError, GridCell};
use crate::cpu::Cpu;
use crate::numeric::FloatKind;

impl Gpu {
    pub(super) fn halve_grid(
        &self,
        cells: &[GridCell],
        columns: usize,
    ) -> Result<Vec<GridCell>, BackendError> {
        let room = self.piece_blocks() * F32_BLOCK_BYTES / size_of::<GridCell>();
        let rows = room / columns.max(1) / 2 * 2;
        if rows == 0 || columns == 0 {
            // Two rows are more than a piece.
            return Cpu.halve(cells, columns);
        }
        let mut coarser = Vec::with_capacity(cells.len().div_ceil(4));
        for piece in cells.chunks(rows * columns) {
            let rows = piece.len() / columns;
            let len = rows.div_ceil(2) * columns.div_ceil(2);
            let bytes: &[u8] = bytemuck::cast_slice(piece);
            self.with_slot(bytes.len().div_ceil(F32_BLOCK_BYTES), |slot| {
                let (rows, columns) = (rows as u32, columns as u32);
                let params = Params { len: len as u32, rows, columns, ..Params::default() };
                slot.write_params(&self.queue, &params);
                slot.write_weights(&self.queue, bytes);
                let kernels = [(Kernel::Halve, Kernel::Halve.workgroups(len))];
                let reads = [(&slot.results, len * size_of::<GridCell>())];
                self.run(slot, &kernels, FloatKind::F32, &reads, |read| {
                    let words =
                        read.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
                    let words: Vec<u32> = words.take(3 * len).collect();
                    coarser.extend_from_slice(words.as_chunks::<3>().0);
                })
            })?;
        }
        Ok(coarser)
    }
}
