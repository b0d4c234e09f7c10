//! A GPU that runs out of memory, for which a software driver has its process limited. So this is the only
//! test in its process.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;
use std::sync::Barrier;

use quantscope::backend::{Backend, Weights};
use quantscope::cpu::Cpu;
use quantscope::fallback::Fallback;
use quantscope::gpu::{Choice, Gpu, adapters};
use quantscope::numeric::FloatKind;

/// Bytes of address space of this process.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn the_result_is_the_same_with_too_little_memory() {
    let Some(info) = adapters().into_iter().find(|info| info.is_software) else {
        return eprintln!("no software driver: the test did not run");
    };
    let gpu = Fallback::new(Gpu::open(&Choice::Named(info.name)).unwrap());
    let bytes: Vec<u8> =
        (0..1u32 << 22).flat_map(|i| (i as f32 * 0.37).sin().to_le_bytes()).collect();
    let weights = Weights { kind: FloatKind::F32, bytes: &bytes };
    let expected = Cpu.amax(weights).unwrap();
    // So that all is there that a call needs besides its buffers.
    let first = Weights { bytes: &bytes[..1 << 16], ..weights };
    assert_eq!(gpu.amax(first), Cpu.amax(first));

    let limit = address_space() + (16 << 20);
    let mut limited = false;
    let pid = std::process::id().to_string();
    let (ready, go) = (Barrier::new(9), Barrier::new(9));
    let call = || {
        ready.wait();
        go.wait();
        assert_eq!(gpu.amax(weights), Ok(expected));
    };
    std::thread::scope(|scope| {
        // Threads have their stacks before there is no room for them.
        (0..8).for_each(|_| drop(scope.spawn(call)));
        ready.wait();
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &pid, &format!("--as={limit}")]);
        limited = prlimit.status().is_ok_and(|status| status.success());
        go.wait();
    });
    if !limited {
        return eprintln!("no prlimit: memory was not limited");
    }
    // Where it runs out decides whether smaller pieces do, or wgpu gives the device up.
    let notices = gpu.notices();
    assert!(!notices.is_empty(), "there was memory enough");
    for notice in notices {
        let smaller = notice.contains("ran out of memory: it works on pieces of ");
        assert!(smaller || notice.contains("The CPU goes on; the bytes are the same"), "{notice}");
    }
}
