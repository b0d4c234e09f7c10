//! quantscope opens a model checkpoint, shows what is in its weights, and quantizes it.
#![warn(missing_docs)]

pub mod backend;
pub mod checkpoint;
pub mod cpu;
pub mod dialect;
pub mod engine;
pub mod export;
pub mod format;
pub mod model;
pub mod numeric;
pub mod plan;
pub mod recipe;
pub mod stats;
