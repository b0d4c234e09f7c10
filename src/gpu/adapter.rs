//! Which GPUs there are, and which one to open.

use std::fmt;

use serde::Serialize;
use wgpu::{
    Adapter, Backends, DeviceType, DownlevelFlags, Instance, InstanceDescriptor, InstanceFlags,
};

/// A device that the system's graphics drivers offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The name that its driver gives it.
    pub name: String,
    /// The driver and its version; empty where the system does not say.
    pub driver: String,
    /// Whether it is a driver that runs on the CPU.
    pub is_software: bool,
    /// The graphics API it is reached through, as in "Vulkan".
    pub backend: String,
}

impl AdapterInfo {
    /// What there is to say of an adapter.
    pub fn of(adapter: &Adapter) -> Self {
        let info = adapter.get_info();
        let driver = format!("{} {}", info.driver, info.driver_info);
        let backend = match info.backend {
            wgpu::Backend::Vulkan => "Vulkan",
            wgpu::Backend::Metal => "Metal",
            wgpu::Backend::Dx12 => "Direct3D 12",
            wgpu::Backend::Gl => "OpenGL",
            wgpu::Backend::BrowserWebGpu => "WebGPU",
            wgpu::Backend::Noop => "no-op",
        };
        Self {
            name: info.name,
            driver: driver.trim().to_owned(),
            is_software: info.device_type == DeviceType::Cpu,
            backend: backend.to_owned(),
        }
    }
}

/// As in "llvmpipe (software driver, Vulkan)".
impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let software = if self.is_software { "software driver, " } else { "" };
        write!(f, "{} ({software}{})", self.name, self.backend)
    }
}

/// What an adapter allows, of what kernels need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of the largest buffer.
    pub buffer_bytes: u64,
    /// Bytes of a buffer that a kernel sees at once.
    pub binding_bytes: u64,
    /// Threads of a workgroup.
    pub workgroup_invocations: u32,
    /// The same along each dimension.
    pub workgroup_size: [u32; 3],
    /// Bytes that the threads of a workgroup share.
    pub workgroup_bytes: u64,
    /// Workgroups along a dimension.
    pub workgroups: u32,
}

impl Limits {
    fn of(adapter: &Adapter) -> Self {
        let limits = adapter.limits();
        Self {
            buffer_bytes: limits.max_buffer_size,
            binding_bytes: limits.max_storage_buffer_binding_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_size: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            workgroup_bytes: limits.max_compute_workgroup_storage_size.into(),
            workgroups: limits.max_compute_workgroups_per_dimension,
        }
    }
}

/// Which adapter to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The best GPU made of hardware; no software driver.
    Real,
    /// The best there is: hardware before software, discrete before integrated before virtual.
    Best,
    /// The best of those whose name contains this text, in any case.
    Named(String),
    /// The one of this number among [`adapters`]; several may have one name.
    Number(usize),
}

/// No device could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no adapter at all.
    #[error("there is no GPU that this program can use; install a Vulkan driver, or use the CPU")]
    NoAdapter,
    /// There are only software drivers.
    #[error("there is no hardware GPU; use the CPU, or name a software driver: {}", list(.adapters))]
    OnlySoftware {
        /// The adapters there are.
        adapters: Vec<AdapterInfo>,
    },
    /// No adapter has such a name.
    #[error("no GPU is called \"{wanted}\"; use a part of one of these names: {}", list(.adapters))]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// The adapters there are.
        adapters: Vec<AdapterInfo>,
    },
    /// The driver refused to open the device.
    #[error("{adapter} cannot be opened; update its driver, or use the CPU: {message}")]
    Refused {
        /// The adapter that was chosen.
        adapter: AdapterInfo,
        /// What its driver said.
        message: String,
    },
}

fn list(adapters: &[AdapterInfo]) -> String {
    adapters.iter().map(AdapterInfo::to_string).collect::<Vec<_>>().join(", ")
}

/// Vulkan, Metal and Direct3D 12. OpenGL is there with a window only, and would offer most adapters a second time.
const BACKENDS: Backends = Backends::PRIMARY;

/// Every adapter that can run the kernels, best first.
pub fn adapters() -> Vec<AdapterInfo> {
    enumerate().iter().map(AdapterInfo::of).collect()
}

/// The same with what each allows.
pub fn described() -> Vec<(AdapterInfo, Limits)> {
    enumerate().iter().map(|adapter| (AdapterInfo::of(adapter), Limits::of(adapter))).collect()
}

fn enumerate() -> Vec<Adapter> {
    let instance = Instance::new(InstanceDescriptor {
        backends: BACKENDS,
        flags: InstanceFlags::empty(),
        ..InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = pollster::block_on(instance.enumerate_adapters(BACKENDS));
    adapters.retain(|adapter| {
        let capabilities = adapter.get_downlevel_capabilities();
        capabilities.flags.contains(DownlevelFlags::COMPUTE_SHADERS)
    });
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    adapters
}

fn rank(device_type: DeviceType) -> u8 {
    match device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// The chosen adapter and what it is.
pub(super) fn select(choice: &Choice) -> Result<(Adapter, AdapterInfo), OpenError> {
    let mut found = enumerate();
    let infos: Vec<_> = found.iter().map(AdapterInfo::of).collect();
    let index = pick(&infos, choice)?;
    Ok((found.swap_remove(index), infos[index].clone()))
}

/// The index of the chosen one among adapters that are sorted best first.
fn pick(adapters: &[AdapterInfo], choice: &Choice) -> Result<usize, OpenError> {
    if adapters.is_empty() {
        return Err(OpenError::NoAdapter);
    }
    let adapters_there_are = || adapters.to_vec();
    match choice {
        Choice::Best => Ok(0),
        Choice::Number(number) if *number < adapters.len() => Ok(*number),
        Choice::Number(number) => Err(OpenError::NotFound {
            wanted: format!("number {number}"),
            adapters: adapters_there_are(),
        }),
        Choice::Real => adapters
            .iter()
            .position(|adapter| !adapter.is_software)
            .ok_or_else(|| OpenError::OnlySoftware { adapters: adapters_there_are() }),
        Choice::Named(wanted) => {
            let wanted_lower = wanted.to_lowercase();
            adapters
                .iter()
                .position(|adapter| adapter.name.to_lowercase().contains(&wanted_lower))
                .ok_or_else(|| OpenError::NotFound {
                    wanted: wanted.clone(),
                    adapters: adapters_there_are(),
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, is_software: bool) -> AdapterInfo {
        let (driver, backend) = (String::new(), "Vulkan".to_owned());
        AdapterInfo { name: name.to_owned(), driver, is_software, backend }
    }

    #[test]
    fn choices_pick_the_first_that_fits() {
        let all = [adapter("Radeon", false), adapter("Arc", false), adapter("llvmpipe", true)];
        assert_eq!(pick(&all, &Choice::Best), Ok(0));
        assert_eq!(pick(&all, &Choice::Real), Ok(0));
        assert_eq!(pick(&all, &Choice::Named("LLVM".into())), Ok(2));
        assert_eq!(pick(&all[2..], &Choice::Best), Ok(0));
        assert_eq!(pick(&all, &Choice::Number(1)), Ok(1));
        assert!(pick(&all, &Choice::Number(3)).is_err());
    }

    #[test]
    fn errors_say_what_there_is() {
        let software = [adapter("llvmpipe", true)];
        let error = pick(&software, &Choice::Real).unwrap_err();
        assert!(error.to_string().contains("llvmpipe (software driver, Vulkan)"), "{error}");
        let error = pick(&software, &Choice::Named("geforce".into())).unwrap_err();
        assert!(error.to_string().contains("\"geforce\""), "{error}");
        assert!(error.to_string().contains("llvmpipe"), "{error}");
        assert_eq!(pick(&[], &Choice::Best), Err(OpenError::NoAdapter));
    }
}
