//! Any bytes as a safetensors file.
#![no_main]

#[path = "../../tests/common/sound/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target uses its part")]
mod sound;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    sound::accepted_file(file);
});
