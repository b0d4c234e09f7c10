//! The report for people.

use std::fmt;

use super::{Diagnosis, Report, System};
use crate::gpu::Limits;
use crate::units::bytes;

/// What stands for what is not known.
const UNKNOWN: &str = "not known";

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vectors = match self.vector_instructions.as_slice() {
            [] => "none that are known".to_owned(),
            names => names.join(" "),
        };
        let cores = self.cores.map_or(UNKNOWN.to_owned(), |cores| cores.to_string());
        let size = |size: Option<u64>| size.map_or(UNKNOWN.to_owned(), bytes);
        writeln!(f, "system    {}", self.os)?;
        writeln!(
            f,
            "cpu       {} ({})",
            self.cpu.as_deref().unwrap_or(UNKNOWN),
            self.architecture
        )?;
        writeln!(f, "vectors   {vectors}")?;
        writeln!(f, "cores     {cores}")?;
        writeln!(f, "memory    {} that can be used", size(self.memory_available))?;
        for disk in &self.disks {
            writeln!(f, "disk      {} free in {}", size(disk.available), disk.folder.display())?;
        }
        Ok(())
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.workgroup_size;
        write!(
            f,
            "buffers of {}, bindings of {}, workgroups of {} ({x}×{y}×{z}) with {}, {} in a row",
            bytes(self.buffer_bytes),
            bytes(self.binding_bytes),
            self.workgroup_invocations,
            bytes(self.workgroup_bytes),
            self.workgroups
        )
    }
}

/// Only the formats that are wrong have a line.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.passed { "pass" } else { "FAIL" };
        let software = self.is_software.then(|| "software driver".to_owned());
        let about = [software, self.api.clone(), self.driver.clone()];
        let about: Vec<String> = about.into_iter().flatten().collect();
        let about =
            if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        let right = self.formats.iter().filter(|tested| tested.passed).count();
        let seconds = self.milliseconds as f64 / 1000.0;
        let (name, all) = (&self.name, self.formats.len());
        writeln!(
            f,
            "{mark}  {name}{about}: {right} of {all} formats as specified, {seconds:.1} s"
        )?;
        if let Some(limits) = &self.limits {
            writeln!(f, "      {limits}")?;
        }
        for tested in &self.formats {
            if let Some(problem) = &tested.problem {
                writeln!(f, "      {}: {problem}", tested.format)?;
            }
        }
        self.error.as_ref().map_or(Ok(()), |error| writeln!(f, "      {error}"))
    }
}

impl Report {
    /// What to make of it, in a line.
    pub fn conclusion(&self) -> String {
        let adapters = self.devices.len().saturating_sub(1);
        match (&self.adapters_error, self.passed) {
            (Some(error), _) => format!("looking for graphics adapters: {error}"),
            (None, false) => {
                "a device does not do what is specified: update its driver, or choose \
                 another with --device"
                    .to_owned()
            }
            (None, true) if adapters == 0 => {
                "the CPU does what is specified; no graphics adapter was found".to_owned()
            }
            (None, true) => {
                "every device that is no software driver does what is specified".to_owned()
            }
        }
    }
}
