//! How a device fails, provoked on one that is fine.

use std::time::Duration;

use wgpu::{
    Backends, Instance, InstanceDescriptor, InstanceFlags, MemoryBudgetThresholds,
    RequestAdapterOptions, ShaderModuleDescriptor, ShaderSource,
};

use super::*;
use crate::backend::Fault;
use crate::cpu::Cpu;
use crate::fallback::Fallback;

/// A device of its own, which takes no more memory than so many percent of what there is.
fn gpu(percent: Option<u8>) -> Option<Gpu> {
    let instance = Instance::new(InstanceDescriptor {
        backends: Backends::all(),
        flags: InstanceFlags::empty(),
        memory_budget_thresholds: MemoryBudgetThresholds {
            for_resource_creation: percent,
            for_device_loss: None,
        },
        ..InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&RequestAdapterOptions::default()));
    let Ok(adapter) = adapter else {
        assert!(std::env::var_os("QUANTSCOPE_REQUIRE_GPU").is_none(), "there is no GPU adapter");
        eprintln!("no GPU adapter: the test did not run");
        return None;
    };
    let request = adapter.request_device(&device_descriptor(&adapter));
    let (device, queue) = pollster::block_on(request).unwrap();
    Some(Gpu::on(AdapterInfo::of(&adapter), device, queue))
}

/// Enough weights for several pieces of any size.
fn weights() -> Vec<u8> {
    (0..1u32 << 21).flat_map(|i| (i as f32 * 0.37).sin().to_le_bytes()).collect()
}

fn amax(backend: &dyn Backend, bytes: &[u8]) -> Result<u32, BackendError> {
    backend.amax(Weights { kind: FloatKind::F32, bytes })
}

#[test]
fn shaders_that_do_not_compile_are_errors_of_their_call() {
    let Some(gpu) = gpu(None) else { return };
    let error = gpu.guarded(|| {
        let _ = gpu.device.create_shader_module(ShaderModuleDescriptor {
            label: Some("broken"),
            source: ShaderSource::Wgsl("fn main() { let x: u32 = 1.5; }".into()),
        });
        Ok(())
    });
    let error = error.unwrap_err();
    assert_eq!(error.fault, Fault::Broken);
    assert!(error.message.contains("broken"), "{error}");
    assert!(error.to_string().ends_with(". Try again with --device cpu"), "{error}");
    // Other calls have nothing to do with it.
    assert_eq!(amax(&gpu, &weights()), amax(&Cpu, &weights()));
}

#[test]
fn panics_of_drivers_are_errors() {
    let Some(gpu) = gpu(None) else { return };
    let error = gpu.guarded::<()>(|| panic!("out of\n luck")).unwrap_err();
    assert_eq!((error.fault, error.message.as_str()), (Fault::Broken, "out of luck"));
    assert_eq!(amax(&gpu, &weights()), amax(&Cpu, &weights()));
}

#[test]
fn the_cpu_goes_on_where_a_device_is_lost() {
    let Some(gpu) = gpu(None) else { return };
    let weights = weights();
    assert_eq!(amax(&gpu, &weights), amax(&Cpu, &weights));
    gpu.device.destroy();
    let error = amax(&gpu, &weights).unwrap_err();
    assert_eq!(error.fault, Fault::Broken, "{error}");
    assert!(!gpu.name().is_empty() && error.device == gpu.name());

    let fallback = Fallback::new(gpu);
    assert_eq!(amax(&fallback, &weights), amax(&Cpu, &weights));
    let [notice] = &fallback.notices()[..] else { panic!("{:?}", fallback.notices()) };
    assert!(notice.ends_with(". The CPU goes on; the bytes are the same"), "{notice}");
}

#[test]
fn a_device_that_does_not_answer_is_not_waited_for() {
    let Some(mut gpu) = gpu(None) else { return };
    gpu.patience = Duration::ZERO;
    let error = amax(&gpu, &weights()).unwrap_err();
    assert_eq!(error.fault, Fault::Broken, "{error}");
    assert!(error.message.starts_with("no answer within 0 s: its driver hangs"), "{error}");
}

#[test]
fn pieces_get_smaller_until_the_cpu_goes_on() {
    let Some(gpu) = gpu(Some(0)) else { return };
    let weights = weights();
    let error = match amax(&gpu, &weights) {
        Ok(_) => return eprintln!("memory is not counted here: the test did not run"),
        Err(error) => error,
    };
    assert_eq!(error.fault, Fault::OutOfMemory, "{error}");

    let fallback = Fallback::new(gpu);
    assert_eq!(amax(&fallback, &weights), amax(&Cpu, &weights));
    let notices = fallback.notices();
    assert!(notices[0].contains("ran out of memory: it works on pieces of 1/256"), "{notices:?}");
    assert!(notices[1].ends_with("The CPU goes on; the bytes are the same"), "{notices:?}");
}

#[test]
fn smaller_pieces_give_the_same() {
    let Some(gpu) = gpu(None) else { return };
    let weights = weights();
    assert_eq!(amax(&gpu, &weights), amax(&Cpu, &weights));
    let mut halvings = 0;
    while gpu.shrink() {
        halvings += 1;
        assert_eq!(amax(&gpu, &weights), amax(&Cpu, &weights));
    }
    assert_eq!(gpu.piece_blocks(), (1 << 18) >> halvings);
}
