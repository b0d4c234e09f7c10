//! What has to hold for whatever bytes are read: functions that take any, and panic where something that is
//! accepted is not sound. The fuzz targets include this folder, and `tests/corpus.rs` calls it on what is
//! in `fuzz/corpus`.

mod case;
mod files;
mod graph;
mod layers;
mod plans;
mod rules;

pub use files::*;
pub use graph::any_onnx;
pub use layers::any_quantized;
pub use plans::any_config;
pub use rules::{any_patterns, any_recipe};
