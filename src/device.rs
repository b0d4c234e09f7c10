//! Who computes: the device that a name stands for. Behind a GPU stands the CPU, should it fail.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::backend::Backend;
use crate::cpu::Cpu;
use crate::fallback::Fallback;
use crate::gpu::{Choice, Gpu, OpenError};

/// The name of the best GPU that is hardware, and of the CPU where there is none.
pub const AUTO: &str = "auto";

/// The name of the CPU.
pub const CPU: &str = "cpu";

/// An open device.
#[derive(Clone)]
pub struct Device {
    /// Its kernels.
    pub backend: Arc<dyn Backend>,
    /// Why it is not the GPU that there is.
    pub refused: Option<OpenError>,
}

impl Device {
    /// Opens what a name stands for: [`AUTO`], [`CPU`], `gpu` for the best adapter, a software driver if
    /// need be, or a part of an adapter's name.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::open_as(name, Self::from)
    }

    /// The same without the CPU behind a GPU: where devices are compared, each is to show what it makes.
    pub fn open_alone(name: &str) -> Result<Self, OpenError> {
        Self::open_as(name, |gpu| Self { backend: Arc::new(gpu), refused: None })
    }

    fn open_as(name: &str, device: impl Fn(Gpu) -> Self) -> Result<Self, OpenError> {
        let gpu = |choice: Choice| Gpu::open(&choice).map(&device);
        match name {
            CPU => Ok(Self::cpu(None)),
            AUTO => Ok(gpu(Choice::Real).unwrap_or_else(|error| {
                let was_there = matches!(error, OpenError::Refused { .. });
                Self::cpu(was_there.then_some(error))
            })),
            "gpu" => gpu(Choice::Best),
            name => gpu(Choice::Named(name.to_owned())),
        }
    }

    fn cpu(refused: Option<OpenError>) -> Self {
        Self { backend: Arc::new(Cpu), refused }
    }

    /// Threads to work with: as many as keep the device busy, but not so many that their chunks fill
    /// the memory.
    pub fn workers(&self, asked: Option<NonZeroUsize>) -> usize {
        const MOST: usize = 16;
        asked.map_or_else(|| self.backend.useful_callers().min(MOST), NonZeroUsize::get)
    }
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Self { backend: Arc::new(Fallback::new(gpu)), refused: None }
    }
}
