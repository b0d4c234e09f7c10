//! What this machine can do: its system, its devices, and whether each of these computes what the
//! specification says, byte for byte.

mod devices;
mod expected;
mod sample;
mod self_test;
mod system;
mod text;
mod watch;

use std::time::Duration;

use serde::Serialize;

pub use devices::Diagnosis;
pub use self_test::{Problem, Tested};
pub use system::System;

/// How long a device may take for one thing that is asked of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What was found out about this machine.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of the program.
    pub version: &'static str,
    /// The machine without its devices.
    pub system: System,
    /// Why it is not known which graphics adapters there are.
    pub adapters_error: Option<String>,
    /// The CPU, then every adapter, best first.
    pub devices: Vec<Diagnosis>,
    /// [`Report::passed`].
    pub passed: bool,
}

impl Report {
    /// Tests every device. Tells `seen` of each as soon as that is done.
    pub fn new(system: System, patience: Duration, seen: &mut dyn FnMut(&Diagnosis)) -> Self {
        let mut devices = vec![Diagnosis::of_cpu(patience)];
        seen(&devices[0]);
        let (adapters, adapters_error) = devices::adapters(patience);
        for (number, (info, limits)) in adapters.into_iter().enumerate() {
            let diagnosis = Diagnosis::of_adapter(number, &info, limits, patience);
            seen(&diagnosis);
            devices.push(diagnosis);
        }
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION"),
            system,
            adapters_error,
            devices,
            passed: false,
        };
        report.passed = report.passed();
        report
    }

    /// Whether every device that is no software driver passed.
    pub fn passed(&self) -> bool {
        self.adapters_error.is_none()
            && self.devices.iter().all(|device| device.is_software || device.passed)
    }
}
