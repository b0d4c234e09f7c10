//! Who computes for the window.

use super::task::take;
use super::{Notify, Task};
use crate::device::{AUTO, CPU, Device};
use crate::gpu::{AdapterInfo, adapters};

/// The GPU that draws the window, ready to run kernels too.
#[derive(Clone)]
pub struct WindowGpu {
    /// What it is.
    pub info: AdapterInfo,
    /// The same device, for kernels.
    pub device: Device,
}

/// The devices there are, and the one that is chosen.
pub struct Devices {
    /// The chosen one, as [`Device::open`] takes it.
    pub name: String,
    /// It, once it is open.
    pub open: Option<Device>,
    /// Why it is not.
    pub error: Option<String>,
    /// Every adapter, best first, once they have been counted.
    pub adapters: Vec<AdapterInfo>,
    window: Option<WindowGpu>,
    opening: Option<Task<Result<Device, String>>>,
    counting: Option<Task<Vec<AdapterInfo>>>,
}

impl Devices {
    /// None is open yet.
    pub fn new(name: &str, window: Option<WindowGpu>) -> Self {
        Self {
            name: name.to_owned(),
            open: None,
            error: None,
            adapters: Vec::new(),
            window,
            opening: None,
            counting: None,
        }
    }

    /// Begins to open a device, and to count those there are if that has not been done.
    pub fn choose(&mut self, notify: &Notify, name: &str) {
        name.clone_into(&mut self.name);
        self.open = None;
        self.error = None;
        let (name, window) = (name.to_owned(), self.window.clone());
        self.opening =
            Some(Task::start(notify, move |_| open(&name, window).map_err(|e| e.to_string())));
        if self.adapters.is_empty() && self.counting.is_none() {
            self.counting = Some(Task::start(notify, |_| adapters()));
        }
    }

    /// Whether a device has been opened just now.
    pub fn poll(&mut self) -> bool {
        if let Some(Ok(adapters)) = take(&mut self.counting) {
            self.adapters = adapters;
        }
        match take(&mut self.opening) {
            Some(Ok(Ok(device))) => self.open = Some(device),
            Some(Ok(Err(error)) | Err(error)) => self.error = Some(error),
            None => return false,
        }
        self.open.is_some()
    }

    /// Whether drivers are being asked which devices there are. Some crash if the program ends meanwhile.
    pub fn is_counting(&self) -> bool {
        self.counting.is_some()
    }

    /// What computes, in a few words.
    pub fn label(&self) -> &str {
        self.open.as_ref().map_or("opening the device", |device| device.backend.name())
    }
}

/// Opens a device, that of the window where the name stands for the same adapter.
fn open(name: &str, window: Option<WindowGpu>) -> Result<Device, crate::gpu::OpenError> {
    let is_named = |info: &AdapterInfo| info.name.to_lowercase().contains(&name.to_lowercase());
    let is_meant = |gpu: &WindowGpu| match name {
        AUTO => !gpu.info.is_software,
        CPU | "gpu" => false,
        name => name == gpu.info.name || is_named(&gpu.info),
    };
    match window.filter(is_meant) {
        Some(gpu) => Ok(gpu.device),
        None => Device::open(name),
    }
}
