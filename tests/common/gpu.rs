//! The GPUs of the machine.

use quantscope::gpu::{Choice, Gpu, adapters};

/// Every adapter, opened. There has to be one where `QUANTSCOPE_REQUIRE_GPU` is set.
pub fn gpus() -> Vec<Gpu> {
    let found = adapters();
    if found.is_empty() {
        let required = std::env::var_os("QUANTSCOPE_REQUIRE_GPU").is_some();
        assert!(!required, "QUANTSCOPE_REQUIRE_GPU is set, but there is no GPU adapter");
        eprintln!("no GPU adapter: the GPU tests did not run");
    }
    let open = |name: &str| Gpu::open(&Choice::Named(name.to_owned())).unwrap();
    found.iter().map(|info| open(&info.name)).collect()
}
