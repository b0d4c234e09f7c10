//! Bit-exact element codecs in plain scalar Rust.
//!
//! Everything here works on single values. It knows nothing of tensors, files or devices. The
//! element types are those of the OCP Microscaling and FP8 specifications; where those leave a
//! choice open (overflow, the sign of zero) the choice is the one that the reference quantizers
//! make, and the doc comment says so.

pub mod e2m1;
pub mod e4m3;
pub mod e5m2;
pub mod e8m0;
pub mod rounding;
mod source;

pub use source::{FloatKind, SourceFloat};
