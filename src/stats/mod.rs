//! What is measured of a tensor, and how measurements add up.

mod scales;
mod sums;
mod tensor;

pub use scales::ScaleHealth;
pub use sums::{ErrorSums, WeightSums};
pub use tensor::{QuantizedStats, TensorStats};
