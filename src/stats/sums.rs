//! Sums over weights from which every displayed statistic follows. They add up: a tensor's sums
//! are those of its chunks, a group's those of its tensors. They decide no stored bit.

use serde::{Deserialize, Serialize};

/// Sums over weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WeightSums {
    /// Number of weights.
    pub count: u64,
    /// Weights that are +0 or −0.
    pub zeros: u64,
    /// Σ w.
    pub sum: f64,
    /// Σ |w|.
    pub sum_abs: f64,
    /// Σ w².
    pub sum_squares: f64,
}

impl WeightSums {
    /// Adds another part.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.zeros += other.zeros;
        self.sum += other.sum;
        self.sum_abs += other.sum_abs;
        self.sum_squares += other.sum_squares;
    }

    /// Takes out zeros that were counted and are no weights.
    pub fn remove_zeros(&mut self, count: u64) {
        self.count -= count;
        self.zeros -= count;
    }

    /// Mean of |w|; 0 for no weights.
    pub fn mean_abs(&self) -> f64 {
        self.sum_abs / self.count.max(1) as f64
    }

    /// Standard deviation of w over the whole population; 0 for no weights.
    pub fn std_dev(&self) -> f64 {
        let count = self.count.max(1) as f64;
        let mean = self.sum / count;
        let variance = self.sum_squares / count - mean * mean;
        // Rounding may leave it below zero; what is no number stays none.
        if variance < 0.0 { 0.0 } else { variance.sqrt() }
    }

    /// Fraction of weights that are zero, 0 to 1.
    pub fn zero_fraction(&self) -> f64 {
        self.zeros as f64 / self.count.max(1) as f64
    }
}

/// Sums over the differences between weights and what their codes stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorSums {
    /// Σ (w − ŵ)².
    pub sum_squares: f64,
    /// Largest |w − ŵ|.
    pub max_abs: f64,
}

impl ErrorSums {
    /// Adds another part.
    pub fn merge(&mut self, other: &Self) {
        self.sum_squares += other.sum_squares;
        self.max_abs = self.max_abs.max(other.max_abs);
    }

    /// Largest |w − ŵ|, and no number if one of them is none.
    pub fn largest(&self) -> f64 {
        if self.sum_squares.is_nan() { f64::NAN } else { self.max_abs }
    }

    /// Signal-to-quantization-noise ratio in dB, 10·log₁₀(Σw² / Σ(w−ŵ)²) of weights whose Σw² is
    /// `signal_squares`: infinite where the codes are exact, `None` where there is no signal.
    pub fn sqnr_db(&self, signal_squares: f64) -> Option<f64> {
        (signal_squares > 0.0).then(|| 10.0 * (signal_squares / self.sum_squares).log10())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_follow_from_merged_sums() {
        let weights = [0.0f64, -0.0, 1.0, -3.0, 2.0];
        let mut total = WeightSums::default();
        for w in weights {
            total.merge(&WeightSums {
                count: 1,
                zeros: u64::from(w == 0.0),
                sum: w,
                sum_abs: w.abs(),
                sum_squares: w * w,
            });
        }
        assert_eq!(total.mean_abs(), 1.2);
        assert_eq!(total.zero_fraction(), 0.4);
        assert!((total.std_dev() - 2.8f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn sqnr_at_its_ends() {
        let exact = ErrorSums::default();
        assert_eq!(exact.sqnr_db(100.0), Some(f64::INFINITY));
        assert_eq!(exact.sqnr_db(0.0), None);
        let noise = ErrorSums { sum_squares: 1.0, max_abs: 1.0 };
        assert_eq!(noise.sqnr_db(100.0), Some(20.0));
    }
}
