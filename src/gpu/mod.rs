//! The GPU backend: the kernels of `shaders/` through wgpu. Nothing else in the crate knows wgpu.
//!
//! No arithmetic of the GPU decides a bit: quantizing compares integers with tables that the
//! specification made, and dequantizing looks values up in them.

mod adapter;
mod gpu_data;
mod kernels;
mod slot;
mod sums;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use wgpu::{
    Buffer, ComputePassDescriptor, Device, DeviceDescriptor, ExperimentalFeatures, Features, MapMode,
    MemoryHints, PollType, Queue, Trace,
};

use crate::backend::{Backend, BackendError, Nvfp4Chunk, Quantized, Weights};
use crate::cpu::Cpu;
use crate::format::Nvfp4Tables;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN};
use crate::numeric::FloatKind;
use crate::stats::{ErrorSums, WeightSums};

pub use adapter::{AdapterInfo, Choice, OpenError, adapters};
#[doc(hidden)]
pub use kernels::shader_sources;

use gpu_data::Tables;
use kernels::{Kernel, Kernels};
use slot::{F32_BLOCK_BYTES, Slot};

/// Blocks that are worked on at once: 8 MiB of bf16. Longer inputs take several turns, which
/// bounds a slot's memory (about 50 MiB) and what is asked of the adapter's limits.
const PIECE_BLOCKS: usize = 1 << 18;

/// Blocks that the smallest slot holds.
const MIN_SLOT_BLOCKS: usize = 1 << 10;

// Every device takes 65535 workgroups in a row, so one dimension is enough.
const _: () = assert!(Kernel::Nvfp4Dequantize.workgroups(PIECE_BLOCKS) <= 65535);

/// A GPU, or a software driver that behaves like one.
#[derive(Debug)]
pub struct Gpu {
    name: String,
    device: Device,
    queue: Queue,
    kernels: Kernels,
    piece_blocks: usize,
    slots: Mutex<Vec<Slot>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// Opens an adapter.
    pub fn open(choice: &Choice) -> Result<Self, OpenError> {
        let (adapter, info) = adapter::select(choice)?;
        let limits = adapter.limits();
        let piece_blocks = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
            .min((PIECE_BLOCKS * F32_BLOCK_BYTES) as u64) as usize
            / F32_BLOCK_BYTES;
        let request = adapter.request_device(&DeviceDescriptor {
            label: Some("quantscope"),
            required_features: Features::empty(),
            required_limits: limits,
            experimental_features: ExperimentalFeatures::disabled(),
            memory_hints: MemoryHints::Performance,
            trace: Trace::Off,
        });
        let (device, queue) = pollster::block_on(request)
            .map_err(|error| OpenError::Refused { adapter: info.clone(), message: one_line(error) })?;

        let failure = Arc::new(Mutex::new(None));
        let (on_error, on_loss) = (Arc::clone(&failure), Arc::clone(&failure));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&on_error).get_or_insert(one_line(error));
        }));
        device.set_device_lost_callback(move |_, message| {
            lock(&on_loss).get_or_insert(format!("the device was lost: {}", one_line(message)));
        });
        Ok(Self {
            name: info.to_string(),
            kernels: Kernels::new(&device),
            device,
            queue,
            piece_blocks,
            slots: Mutex::default(),
            failure,
        })
    }

    fn error(&self, message: impl Into<String>) -> BackendError {
        let message = format!("{}; use the CPU, or less memory at a time", message.into());
        BackendError { device: self.name.clone(), message }
    }

    /// Fails if anything has: after a refused allocation or a lost device, results mean nothing.
    fn check(&self) -> Result<(), BackendError> {
        let failure = lock(&self.failure).clone();
        failure.map_or(Ok(()), |message| Err(self.error(message)))
    }

    /// Runs `work` in a slot for `blocks` blocks. A slot whose work failed is not used again.
    fn with_slot<T>(
        &self,
        blocks: usize,
        work: impl FnOnce(&Slot) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut slots = lock(&self.slots);
        let fitting = slots.iter().position(|slot| slot.capacity >= blocks);
        // One that is too small makes room for a larger one.
        let taken = fitting.map(|index| slots.swap_remove(index)).or_else(|| slots.pop());
        drop(slots);
        let slot = taken.filter(|slot| slot.capacity >= blocks).unwrap_or_else(|| {
            let capacity = blocks.next_power_of_two().clamp(MIN_SLOT_BLOCKS, self.piece_blocks);
            Slot::new(&self.device, &self.kernels.bindings, capacity)
        });
        self.check()?;
        let result = work(&slot)?;
        lock(&self.slots).push(slot);
        Ok(result)
    }

    /// Runs kernels one after the other on `blocks` blocks, then hands the first bytes of the
    /// buffers, each rounded up to 4 bytes, to `take`.
    fn run<T>(
        &self,
        slot: &Slot,
        kernels: &[Kernel],
        (blocks, kind): (usize, FloatKind),
        reads: &[(&Buffer, usize)],
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, BackendError> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        pass.set_bind_group(0, &slot.bind_group, &[]);
        for &kernel in kernels {
            pass.set_pipeline(self.kernels.pipeline(&self.device, kernel, kind));
            pass.dispatch_workgroups(kernel.workgroups(blocks) as u32, 1, 1);
        }
        drop(pass);
        let mut end = 0;
        for &(buffer, bytes) in reads {
            let size = bytes.next_multiple_of(4) as u64;
            encoder.copy_buffer_to_buffer(buffer, 0, &slot.readback, end, size);
            end += size;
        }
        let submission_index = Some(self.queue.submit([encoder.finish()]));

        let (sender, receiver) = mpsc::channel();
        slot.readback.map_async(MapMode::Read, ..end, move |mapped| {
            // Nobody listens any more once waiting has failed.
            let _ = sender.send(mapped);
        });
        let waited = self.device.poll(PollType::Wait { submission_index, timeout: None });
        self.check()?;
        waited.map_err(|error| self.error(format!("waiting for the device: {error}")))?;
        // Another thread's wait may be what runs the callback, hence the channel.
        let mapped = receiver.recv().map_err(|_| self.error("the device gave no result"))?;
        mapped.map_err(|error| self.error(format!("reading results: {error}")))?;
        let view = slot.readback.get_mapped_range(..end);
        let view = view.map_err(|error| self.error(format!("reading results: {error}")))?;
        let result = take(&view);
        drop(view);
        slot.readback.unmap();
        Ok(result)
    }

    /// Sums of a piece from what the workgroups wrote, or from the CPU where f32 would not do.
    fn sums(
        &self,
        partials: &[u8],
        unit: Option<f32>,
        (weights, chunk): (Weights<'_>, Nvfp4Chunk<'_>),
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let merged = unit.and_then(|unit| sums::merge(partials, weights.len(), unit));
        merged.map_or_else(|| Cpu.nvfp4_errors(weights, chunk, tables), Ok)
    }

    /// Weights in pieces that a slot takes.
    fn pieces<'a>(&self, weights: Weights<'a>) -> impl Iterator<Item = Weights<'a>> + use<'a> {
        let bytes = self.piece_blocks * BLOCK_LEN * weights.kind.bytes();
        weights.bytes.chunks(bytes).map(move |bytes| Weights { bytes, ..weights })
    }

    /// A chunk in pieces that a slot takes.
    fn chunk_pieces<'a>(&self, chunk: Nvfp4Chunk<'a>) -> impl Iterator<Item = Nvfp4Chunk<'a>> + use<'a> {
        let codes = chunk.codes.chunks(self.piece_blocks * BLOCK_BYTES);
        let scales = chunk.scales.chunks(self.piece_blocks);
        codes.zip(scales).map(|(codes, scales)| Nvfp4Chunk { codes, scales })
    }
}

impl Backend for Gpu {
    fn name(&self) -> &str {
        &self.name
    }

    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
        let mut amax = 0;
        for piece in self.pieces(weights) {
            let blocks = piece.len().div_ceil(BLOCK_LEN);
            let piece_amax = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, piece.len().div_ceil(4), 1.0);
                slot.write_weights(&self.queue, piece.bytes);
                let reads = [(&slot.results, 4 * Kernel::Amax.workgroups(blocks))];
                self.run(slot, &[Kernel::Amax], (blocks, piece.kind), &reads, |maxima| {
                    let maxima = maxima.as_chunks().0.iter().map(|max| u32::from_le_bytes(*max));
                    maxima.max().unwrap_or(0)
                })
            })?;
            amax = amax.max(piece_amax);
        }
        Ok(amax)
    }

    fn nvfp4_quantize(&self, weights: Weights<'_>, tables: &Nvfp4Tables) -> Result<Quantized, BackendError> {
        let unit = sums::unit(tables);
        let gpu_tables = Tables::new(tables);
        let blocks = weights.len() / BLOCK_LEN;
        let mut all = Quantized {
            codes: Vec::with_capacity(blocks * BLOCK_BYTES),
            scales: Vec::with_capacity(blocks),
            weights: WeightSums::default(),
            errors: ErrorSums::default(),
        };
        let kernels = match unit {
            Some(_) => &[Kernel::Nvfp4Quantize, Kernel::Nvfp4Errors][..],
            None => &[Kernel::Nvfp4Quantize],
        };
        for piece in self.pieces(weights) {
            let blocks = piece.len() / BLOCK_LEN;
            let (codes_len, scales_len) = (blocks * BLOCK_BYTES, blocks);
            let partials_len = Kernel::Nvfp4Errors.workgroups(blocks) * sums::PARTIAL_BYTES;
            let (weights, errors) = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, blocks, unit.unwrap_or(1.0));
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_weights(&self.queue, piece.bytes);
                let reads =
                    [(&slot.codes, codes_len), (&slot.scales, scales_len), (&slot.results, partials_len)];
                self.run(slot, kernels, (blocks, piece.kind), &reads, |bytes| {
                    let (codes, bytes) = bytes.split_at(codes_len);
                    let (scales, partials) = bytes.split_at(scales_len.next_multiple_of(4));
                    let chunk = Nvfp4Chunk { codes, scales: &scales[..scales_len] };
                    all.codes.extend_from_slice(chunk.codes);
                    all.scales.extend_from_slice(chunk.scales);
                    self.sums(partials, unit, (piece, chunk), tables)
                })?
            })?;
            all.weights.merge(&weights);
            all.errors.merge(&errors);
        }
        Ok(all)
    }

    fn nvfp4_dequantize(&self, chunk: Nvfp4Chunk<'_>, tables: &Nvfp4Tables) -> Result<Vec<f32>, BackendError> {
        let gpu_tables = Tables::new(tables);
        let mut values = Vec::with_capacity(chunk.scales.len() * BLOCK_LEN);
        for piece in self.chunk_pieces(chunk) {
            let blocks = piece.scales.len();
            self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, blocks, 1.0);
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_chunk(&self.queue, piece.codes, piece.scales);
                let reads = [(&slot.results, blocks * F32_BLOCK_BYTES)];
                self.run(slot, &[Kernel::Nvfp4Dequantize], (blocks, tables.kind), &reads, |bytes| {
                    values.extend(bytes.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)));
                })
            })?;
        }
        Ok(values)
    }

    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let Some(unit) = sums::unit(tables) else {
            return Cpu.nvfp4_errors(weights, chunk, tables);
        };
        let gpu_tables = Tables::new(tables);
        let (mut all_weights, mut all_errors) = Default::default();
        for (piece, chunk) in self.pieces(weights).zip(self.chunk_pieces(chunk)) {
            let blocks = chunk.scales.len();
            let (weights, errors) = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, blocks, unit);
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_weights(&self.queue, piece.bytes);
                slot.write_chunk(&self.queue, chunk.codes, chunk.scales);
                let partials_len = Kernel::Nvfp4Errors.workgroups(blocks) * sums::PARTIAL_BYTES;
                let reads = [(&slot.results, partials_len)];
                self.run(slot, &[Kernel::Nvfp4Errors], (blocks, piece.kind), &reads, |partials| {
                    self.sums(partials, Some(unit), (piece, chunk), tables)
                })?
            })?;
            WeightSums::merge(&mut all_weights, &weights);
            ErrorSums::merge(&mut all_errors, &errors);
        }
        Ok((all_weights, all_errors))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A driver's message without its line breaks.
fn one_line(message: impl ToString) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
