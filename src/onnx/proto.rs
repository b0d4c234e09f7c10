//! The messages of the public ONNX schema, made from `onnx.proto` when the crate is built.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery)]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
