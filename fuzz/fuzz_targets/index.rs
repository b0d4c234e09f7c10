//! Any bytes as a `model.safetensors.index.json`.
#![no_main]

#[path = "../../tests/common/sound/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target uses its part")]
mod sound;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    sound::accepted_index(json);
});
