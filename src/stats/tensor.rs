//! All that is measured of one tensor.

use serde::{Deserialize, Serialize};

use super::{ErrorSums, ScaleHealth, WeightSums};

/// Measurements of one tensor. Parts of a tensor merge into the whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorStats {
    /// Largest magnitude; NaN if there is a NaN, infinite if there is an infinity.
    pub amax: f32,
    /// Sums over the weights.
    pub weights: WeightSums,
    /// What quantizing it did, if it is quantized.
    pub quantized: Option<QuantizedStats>,
    /// The same of each expert, if it holds several.
    pub experts: Vec<TensorStats>,
}

/// Measurements of what quantizing did to a tensor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantizedStats {
    /// The scale of the whole tensor, as it is stored, if it has one.
    pub global_scale: Option<f32>,
    /// Its block scales.
    pub scales: ScaleHealth,
    /// Σ w² of what was quantized, without tensors of a group that are kept.
    pub signal_squares: f64,
    /// Sums over its errors.
    pub errors: ErrorSums,
    /// Where scales were searched for: sums over the errors that scales from the largest magnitude
    /// would have given.
    pub unsearched: Option<ErrorSums>,
}

impl TensorStats {
    /// Adds another part of the same tensor. Its experts, if it has any, are left aside.
    pub fn merge(&mut self, other: &Self) {
        // As bit patterns, so that NaN, which is above infinity there, is not lost.
        self.amax = f32::from_bits(self.amax.to_bits().max(other.amax.to_bits()));
        self.weights.merge(&other.weights);
        match (&mut self.quantized, &other.quantized) {
            (Some(total), Some(part)) => {
                total.scales.merge(&part.scales);
                total.signal_squares += part.signal_squares;
                // Parts that were not searched for have gained nothing.
                total.unsearched = match (total.unsearched, part.unsearched) {
                    (None, None) => None,
                    (own, other) => {
                        let mut all = own.unwrap_or(total.errors);
                        all.merge(&other.unwrap_or(part.errors));
                        Some(all)
                    }
                };
                total.errors.merge(&part.errors);
            }
            (total @ None, Some(part)) => *total = Some(part.clone()),
            (_, None) => {}
        }
    }

    /// Signal-to-quantization-noise ratio in dB, if it is quantized and not all zeros.
    pub fn sqnr_db(&self) -> Option<f64> {
        let quantized = self.quantized.as_ref()?;
        quantized.errors.sqnr_db(quantized.signal_squares)
    }

    /// What a search for scales gained, in dB: negative where it lost. `None` where there was none, or
    /// no error to reduce.
    pub fn search_gain_db(&self) -> Option<f64> {
        let quantized = self.quantized.as_ref()?;
        let (before, after) = (quantized.unsearched?.sum_squares, quantized.errors.sum_squares);
        (before > 0.0 && after > 0.0).then(|| 10.0 * (before / after).log10())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_nan_and_takes_the_larger_amax() {
        let part = |amax| TensorStats { amax, ..Default::default() };
        let mut total = part(1.0);
        total.merge(&part(3.0));
        total.merge(&part(2.0));
        assert_eq!(total.amax, 3.0);
        total.merge(&part(f32::NAN));
        total.merge(&part(f32::INFINITY));
        assert!(total.amax.is_nan());
    }

    #[test]
    fn a_kept_tensor_does_not_raise_the_ratio_of_its_group() {
        let squares = |sum_squares| WeightSums { count: 1, sum_squares, ..Default::default() };
        let mut total = TensorStats {
            weights: squares(10.0),
            quantized: Some(QuantizedStats {
                signal_squares: 10.0,
                errors: ErrorSums { sum_squares: 1.0, max_abs: 1.0 },
                ..Default::default()
            }),
            ..Default::default()
        };
        total.merge(&TensorStats { weights: squares(1e6), ..Default::default() });
        assert_eq!(total.sqnr_db(), Some(10.0));
    }
}
