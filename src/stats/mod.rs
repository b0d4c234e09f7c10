//! What is measured of a tensor, and how measurements add up.

mod sums;

pub use sums::{ErrorSums, WeightSums};
