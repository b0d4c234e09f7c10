//! Any bytes as a recipe.
#![no_main]

#[path = "../../tests/common/sound/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each target uses its part")]
mod sound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sound::any_recipe(bytes);
});
