//! The machine: its system, its processor, and what there is of memory and disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The machine without its devices. What the system does not say is `None`.
#[derive(Debug, Serialize)]
pub struct System {
    /// The operating system.
    pub os: String,
    /// The processor.
    pub cpu: Option<String>,
    /// Its architecture.
    pub architecture: &'static str,
    /// Its vector instructions that kernels may use.
    pub vector_instructions: Vec<&'static str>,
    /// Cores that the process may use.
    pub cores: Option<usize>,
    /// Bytes of memory that it may still use: those of the machine, or of its control group.
    pub memory_available: Option<u64>,
    /// Folders that files are written to.
    pub disks: Vec<Disk>,
}

/// A folder on some disk.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// The folder.
    pub folder: PathBuf,
    /// Bytes that are free.
    pub available: Option<u64>,
}

impl System {
    /// This one.
    pub fn here() -> Self {
        let disk = |folder: PathBuf| Disk { available: fs4::available_space(&folder).ok(), folder };
        let current = std::env::current_dir().ok();
        Self {
            os: os(),
            cpu: cpu(),
            architecture: std::env::consts::ARCH,
            vector_instructions: vector_instructions(),
            cores: std::thread::available_parallelism().ok().map(std::num::NonZeroUsize::get),
            memory_available: memory_available(),
            disks: current.into_iter().chain([std::env::temp_dir()]).map(disk).collect(),
        }
    }
}

/// As in "Debian GNU/Linux 12 (bookworm), Linux 6.1".
fn os() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map(|version| format!("Linux {}", version.trim()));
    let parts = [name.map(|name| name.trim_matches('"').to_owned()), kernel];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { std::env::consts::OS.to_owned() } else { known.join(", ") }
}

fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map(|(_, name)| name.to_owned()).or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok())
}

/// The names, of these, of instruction sets that the processor has.
macro_rules! detected {
    ($detect:ident: $($name:tt),*) => {
        [$(($name, std::arch::$detect!($name))),*].into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
    };
}

#[cfg(target_arch = "x86_64")]
fn vector_instructions() -> Vec<&'static str> {
    detected!(is_x86_feature_detected: "sse2", "sse4.1", "sse4.2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512vl")
}

#[cfg(target_arch = "aarch64")]
fn vector_instructions() -> Vec<&'static str> {
    detected!(is_aarch64_feature_detected: "neon", "fp16", "dotprod", "sve", "sve2")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn vector_instructions() -> Vec<&'static str> {
    Vec::new()
}

/// What the machine has available, or less where control groups allow less.
fn memory_available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let machine = available(&info)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let folder = root.join(own);
    let allowed = folder.ancestors().take_while(|folder| folder.starts_with(root));
    Some(allowed.filter_map(left_in).fold(machine, u64::min))
}

/// The bytes that `/proc/meminfo` says are available.
fn available(info: &str) -> Option<u64> {
    let kib = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What a control group has left; files in memory can make room.
fn left_in(group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number("memory.max")?, number("memory.current")?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(files.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_least_of_what_limits_it() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert_eq!(left_in(group.path()), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(left_in(group.path()), None, "no limit");
        write("memory.max", "1000\n");
        assert_eq!(left_in(group.path()), Some(300));
        write("memory.stat", "anon 5\ninactive_file 200\n");
        assert_eq!(left_in(group.path()), Some(500));
    }

    #[test]
    fn this_machine_has_something_of_each() {
        let system = System::here();
        assert!(!system.os.is_empty() && system.cores.is_some_and(|cores| cores > 0));
        assert!(system.disks.iter().all(|disk| disk.available.is_some()));
        assert_eq!(system.memory_available.is_some(), cfg!(target_os = "linux"));
    }
}
