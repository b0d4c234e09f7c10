//! quantscope opens a model checkpoint, shows what is in its weights, and quantizes it.
//!
//! The modules follow the flow of the data, and each knows only those before it:
//!
//! [`numeric`] and [`mod@format`] specify the arithmetic; [`checkpoint`] opens files, with [`onnx`] for models,
//! and [`model`] tells what their tensors are; [`recipe`] says what the user wants, [`dialect`] what a runtime
//! wants, and [`plan`] puts them together without reading a weight; [`engine`] runs a plan on a
//! [`backend`], [`cpu`] or [`gpu`] (with a [`fallback`]; [`device`] chooses), and measures ([`stats`]); [`quantized`] reads what is quantized
//! already; [`inspect`] looks into tensors; [`export`] writes and verifies;
//! [`report`] makes tables of it all, with [`units`] as people read them; [`doctor`] examines the machine; `gui`, the window, and [`batch`] show them.
#![warn(missing_docs)]

pub mod backend;
pub mod batch;
pub mod checkpoint;
pub mod cpu;
pub mod device;
pub mod dialect;
pub mod doctor;
pub mod engine;
pub mod export;
pub mod fallback;
pub mod format;
pub mod gpu;
#[cfg(feature = "gui")]
pub mod gui;
pub mod inspect;
pub mod model;
pub mod numeric;
pub mod onnx;
pub mod plan;
pub mod quantized;
pub mod recipe;
pub mod report;
pub mod stats;
pub mod units;
