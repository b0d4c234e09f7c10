//! quantscope opens a model checkpoint, shows what is in its weights, and quantizes it.
#![warn(missing_docs)]

pub mod backend;
pub mod cpu;
pub mod format;
pub mod gpu;
pub mod numeric;
pub mod stats;
