//! How much of a model is quantized, and to how many bits.

use super::{Decision, Entry, Plan};
use crate::dialect::{Output, Part};

/// How much of what could be quantized is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// Float tensors of two or more dimensions, norms and biases aside.
    pub quantizable_tensors: u64,
    /// Their bytes.
    pub quantizable_bytes: u64,
    /// Those of them that are quantized.
    pub quantized_tensors: u64,
    /// Their bytes, before.
    pub quantized_bytes: u64,
}

impl Coverage {
    /// Quantized bytes in percent of quantizable bytes.
    pub fn percent(&self) -> f64 {
        100.0 * self.quantized_bytes as f64 / self.quantizable_bytes.max(1) as f64
    }
}

impl Plan {
    /// How much of what could be quantized is.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        // A layer whose parts are all those of another was counted there.
        let is_again = |entry: &Entry| {
            matches!(entry.decision, Decision::Stored(_)) && entry.outputs.is_empty()
        };
        let counts = |entry: &&Entry| entry.is_quantizable() && !is_again(entry);
        for entry in self.entries.iter().filter(counts) {
            coverage.quantizable_tensors += 1;
            coverage.quantizable_bytes += entry.member.tensor.bytes;
            if entry.format().is_some() {
                coverage.quantized_tensors += 1;
                coverage.quantized_bytes += entry.member.tensor.bytes;
                // The float copy that an untied head gets is a matrix of its own.
                let copies = entry.outputs.iter().filter(|output| output.part == Part::Verbatim);
                for copy in copies {
                    coverage.quantizable_tensors += 1;
                    coverage.quantizable_bytes += copy.bytes();
                }
            }
        }
        coverage
    }

    /// Bits that a quantized weight takes on average, scales included; `None` if there is none. A matrix
    /// that reads the codes of another one has none of its own.
    pub fn bits_per_quantized_weight(&self) -> Option<f64> {
        let (mut bits, mut weights) = (0, 0);
        for entry in self.entries.iter().filter(|entry| entry.format().is_some()) {
            let stored = entry.outputs.iter().filter(|output| output.part != Part::Verbatim);
            let bytes: u64 = stored.map(Output::bytes).sum();
            if bytes == 0 {
                continue;
            }
            bits += 8 * bytes;
            weights += entry.member.tensor.shape.iter().product::<u64>();
        }
        (weights > 0).then(|| bits as f64 / weights as f64)
    }
}
