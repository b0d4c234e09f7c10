//! An open device: its queue, its pool of buffers, and how a call runs kernels and waits.
//!
//! wgpu reports failures of a call to error scopes of its thread, so each call has its own: what one
//! lacks memory for is no failure of another. A lost device, and errors outside of calls, are reported
//! to callbacks, which note the first one; every call asks for it before it believes a result.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wgpu::{
    Adapter, Buffer, ComputePassDescriptor, Device, DeviceDescriptor, ErrorFilter,
    ExperimentalFeatures, Features, MapMode, MemoryHints, PollError, PollType, Queue, Trace,
};

use super::adapter::{self, AdapterInfo, Choice, OpenError};
use super::kernels::{Kernel, Kernels};
use super::slot::{F32_BLOCK_BYTES, Slot};
use crate::backend::{BackendError, Fault};
use crate::numeric::FloatKind;

/// Blocks that are worked on at once: 8 MiB of bf16. Longer inputs take several turns, which
/// bounds a slot's memory (about 50 MiB) and what is asked of the adapter's limits.
const PIECE_BLOCKS: usize = 1 << 18;

/// Blocks that the smallest slot holds.
const MIN_SLOT_BLOCKS: usize = 1 << 10;

/// How long a device may take for a piece; the slowest software driver takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

// Every device takes 65535 workgroups in a row, so one dimension is enough.
const _: () = assert!(Kernel::Nvfp4Dequantize.workgroups(PIECE_BLOCKS) <= 65535);

/// A GPU, or a software driver that behaves like one.
#[derive(Debug)]
pub struct Gpu {
    pub(super) name: String,
    pub(super) device: Device,
    pub(super) queue: Queue,
    kernels: Kernels,
    piece_blocks: AtomicUsize,
    pub(super) patience: Duration,
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
            piece_blocks: piece_blocks.into(),
            patience: PATIENCE,
            slots: Mutex::default(),
            failure,
        }
    }

    fn error(&self, message: impl Into<String>) -> BackendError {
        let (device, message) = (self.name.clone(), message.into());
        BackendError { device, fault: Fault::Broken, message }
    }

    /// Fails if the device was lost, or failed outside of calls: results mean nothing then.
    fn check(&self) -> Result<(), BackendError> {
        let failure = lock(&self.failure).clone();
        failure.map_or(Ok(()), |message| Err(self.error(message)))
    }

    /// Blocks that a call should work on at once.
    pub(super) fn piece_blocks(&self) -> usize {
        self.piece_blocks.load(Ordering::Relaxed)
    }

    /// Halves the pieces and lets go of the buffers that are in no call; gives whether they can be halved.
    pub(super) fn halve_pieces(&self) -> bool {
        let half = |blocks: usize| Some(blocks / 2).filter(|half| *half >= MIN_SLOT_BLOCKS);
        let halved = self.piece_blocks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, half);
        lock(&self.slots).clear();
        halved.is_ok()
    }

    /// Does work with the device, and gives its result if nothing failed meanwhile.
    pub(super) fn guarded<T>(
        &self,
        work: impl FnOnce() -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let [memory, validation, internal] =
            [ErrorFilter::OutOfMemory, ErrorFilter::Validation, ErrorFilter::Internal]
                .map(|filter| self.device.push_error_scope(filter));
        // wgpu panics where a device is lost while it is waited for.
        let done = catch_unwind(AssertUnwindSafe(work));
        let caught = [internal.pop(), validation.pop(), memory.pop()].map(pollster::block_on);
        let [internal, validation, memory] = caught;
        if let Some(error) = memory {
            // What was made without memory is not valid either, but that is no news.
            let fault = Fault::OutOfMemory;
            return Err(BackendError { fault, ..self.error(one_line(error)) });
        }
        self.check()?;
        if let Some(error) = validation.or(internal) {
            return Err(self.error(one_line(error)));
        }
        done.unwrap_or_else(|panic| Err(self.error(panic_message(panic.as_ref()))))
    }

    /// Runs `work` in a slot for `blocks` blocks. A slot whose work failed is not used again.
    pub(super) fn with_slot<T>(
        &self,
        blocks: usize,
        work: impl FnOnce(&Slot) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let slot = self.guarded(|| Ok(self.slot(blocks)))?;
        let result = self.guarded(|| work(&slot))?;
        // After pieces were halved, larger slots are not kept.
        if slot.capacity <= self.piece_blocks() {
            lock(&self.slots).push(slot);
        }
        Ok(result)
    }

    /// A slot of the pool that has room for `blocks` blocks, or a new one.
    fn slot(&self, blocks: usize) -> Slot {
        let mut slots = lock(&self.slots);
        let fitting = slots.iter().position(|slot| slot.capacity >= blocks);
        // One that is too small makes room for a larger one.
        let taken = fitting.map(|index| slots.swap_remove(index)).or_else(|| slots.pop());
        drop(slots);
        taken.filter(|slot| slot.capacity >= blocks).unwrap_or_else(|| {
            let capacity = blocks.next_power_of_two().max(MIN_SLOT_BLOCKS);
            // A call that began with larger pieces ends with them.
            let capacity = capacity.min(self.piece_blocks()).max(blocks);
            Slot::new(&self.device, &self.kernels.bindings, capacity)
        })
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
        // Nothing of a device that is lost will come.
        self.check()?;
        let timeout = Some(self.patience);
        let waited = self.device.poll(PollType::Wait { submission_index, timeout });
        self.check()?;
        waited.map_err(|error| match error {
            PollError::Timeout => self.silent(),
            error => self.error(format!("waiting for the device: {error}")),
        })?;
        // Another thread's wait may be what runs the callback, hence the channel.
        let mapped = receiver.recv_timeout(self.patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => self.silent(),
            RecvTimeoutError::Disconnected => self.error("the device gave no result"),
        })?;
        mapped.map_err(|error| self.error(format!("reading results: {error}")))?;
        let view = slot.readback.get_mapped_range(..end);
        let view = view.map_err(|error| self.error(format!("reading results: {error}")))?;
        let result = take(&view);
        drop(view);
        slot.readback.unmap();
        Ok(result)
    }

    /// The error of a device that does not answer. It is never let go of, since its driver would be waited
    /// for once more.
    fn silent(&self) -> BackendError {
        std::mem::forget((self.device.clone(), self.queue.clone()));
        let seconds = self.patience.as_secs();
        self.error(format!("no answer within {seconds} s: its driver hangs, or it is far too slow"))
    }
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    one_line(text.unwrap_or("its driver failed without a message"))
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
