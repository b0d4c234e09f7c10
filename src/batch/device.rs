//! Who computes.

use super::progress::say;
use crate::backend::Backend;
use crate::cpu::Cpu;
use crate::gpu::{Choice, Gpu, OpenError};

/// Opens the device that `--device` names.
pub fn open(name: &str) -> Result<Box<dyn Backend>, OpenError> {
    let gpu = |choice: Choice| Gpu::open(&choice).map(|gpu| Box::new(gpu) as Box<dyn Backend>);
    match name {
        "cpu" => Ok(Box::new(Cpu)),
        "auto" => Ok(gpu(Choice::Real).unwrap_or_else(|error| {
            if let OpenError::Refused { .. } = error {
                say(&format!("device    {error}"));
            }
            Box::new(Cpu)
        })),
        "gpu" => gpu(Choice::Best),
        name => gpu(Choice::Named(name.to_owned())),
    }
}

/// Threads to work with: as many as keep the device busy, but not so many that their chunks fill
/// the memory.
pub fn workers(asked: Option<std::num::NonZeroUsize>, backend: &dyn Backend) -> usize {
    const MOST: usize = 16;
    asked.map_or_else(|| backend.useful_callers().min(MOST), std::num::NonZeroUsize::get)
}
