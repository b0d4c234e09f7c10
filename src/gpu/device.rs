//! An open device: its queue, its pool of buffers, and how a call runs kernels and waits.
//!
//! wgpu reports most failures to a callback, which notes the first one; every call asks for it
//! before it believes a result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use wgpu::{
    Adapter, Buffer, ComputePassDescriptor, Device, DeviceDescriptor, ExperimentalFeatures,
    Features, MapMode, MemoryHints, PollType, Queue, Trace,
};

use super::adapter::{self, AdapterInfo, Choice, OpenError};
use super::kernels::{Kernel, Kernels};
use super::slot::{F32_BLOCK_BYTES, Slot};
use crate::backend::BackendError;
use crate::numeric::FloatKind;

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
    pub(super) name: String,
    device: Device,
    pub(super) queue: Queue,
    kernels: Kernels,
    pub(super) piece_blocks: usize,
    slots: Mutex<Vec<Slot>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// Opens an adapter. Kernels are compiled when first used.
    pub fn open(choice: &Choice) -> Result<Self, OpenError> {
        let (adapter, info) = adapter::select(choice)?;
        let request = adapter.request_device(&device_descriptor(&adapter));
        let (device, queue) = pollster::block_on(request).map_err(|error| OpenError::Refused {
            adapter: info.clone(),
            message: one_line(error),
        })?;
        Ok(Self::on(info, device, queue))
    }

    /// On a device that is open already, such as a window's. It should have been asked for as
    /// [`device_descriptor`] says.
    pub fn on(info: AdapterInfo, device: Device, queue: Queue) -> Self {
        let limits = device.limits();
        let piece_blocks = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
            .min((PIECE_BLOCKS * F32_BLOCK_BYTES) as u64) as usize
            / F32_BLOCK_BYTES;
        let failure = Arc::new(Mutex::new(None));
        let (on_error, on_loss) = (Arc::clone(&failure), Arc::clone(&failure));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&on_error).get_or_insert(one_line(error));
        }));
        device.set_device_lost_callback(move |_, message| {
            lock(&on_loss).get_or_insert(format!("the device was lost: {}", one_line(message)));
        });
        Self {
            name: info.to_string(),
            kernels: Kernels::new(&device),
            device,
            queue,
            piece_blocks,
            slots: Mutex::default(),
            failure,
        }
    }

    fn error(&self, message: impl Into<String>) -> BackendError {
        let message = format!("{}. Try again with --device cpu", message.into());
        BackendError { device: self.name.clone(), message }
    }

    /// Fails if anything has: after a refused allocation or a lost device, results mean nothing.
    fn check(&self) -> Result<(), BackendError> {
        let failure = lock(&self.failure).clone();
        failure.map_or(Ok(()), |message| Err(self.error(message)))
    }

    /// Runs `work` in a slot for `blocks` blocks. A slot whose work failed is not used again.
    pub(super) fn with_slot<T>(
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
            let capacity = blocks.next_power_of_two().max(MIN_SLOT_BLOCKS).min(self.piece_blocks);
            Slot::new(&self.device, &self.kernels.bindings, capacity)
        });
        self.check()?;
        let result = work(&slot)?;
        lock(&self.slots).push(slot);
        Ok(result)
    }

    /// Runs kernels, each with so many workgroups, one after the other, then hands the first bytes of
    /// the buffers, each rounded up to 4 bytes, to `take`.
    pub(super) fn run<T>(
        &self,
        slot: &Slot,
        kernels: &[(Kernel, usize)],
        kind: FloatKind,
        reads: &[(&Buffer, usize)],
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, BackendError> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        pass.set_bind_group(0, &slot.bind_group, &[]);
        for &(kernel, workgroups) in kernels {
            pass.set_pipeline(self.kernels.pipeline(&self.device, kernel, kind));
            pass.dispatch_workgroups(workgroups as u32, 1, 1);
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
}

/// What to ask an adapter for: all that it has, since kernels work on large buffers.
pub fn device_descriptor(adapter: &Adapter) -> DeviceDescriptor<'static> {
    DeviceDescriptor {
        label: Some("quantscope"),
        required_features: Features::empty(),
        required_limits: adapter.limits(),
        experimental_features: ExperimentalFeatures::disabled(),
        memory_hints: MemoryHints::Performance,
        trace: Trace::Off,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A driver's message without its line breaks.
fn one_line(message: impl ToString) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
