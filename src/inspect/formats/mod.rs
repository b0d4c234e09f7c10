//! What each format does to tensors: error and size, measured with the kernels; and what is best for the
//! size of all.

mod frontier;
mod measure;

pub use frontier::{Frontier, FrontierPoint, Upgrade};
pub use measure::measure;

use super::table::table;
use crate::format::Format;
use crate::stats::ErrorSums;

/// What a format does to a tensor, or to several.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatCell {
    /// The format; `None` for the floats as they are stored.
    pub format: Option<Format>,
    /// What was measured, or why nothing can be.
    pub outcome: Result<FormatSums, String>,
}

/// Sums of which error and size follow. They add up over tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FormatSums {
    /// Number of weights.
    pub weights: u64,
    /// Bytes of all that would be stored: codes, scales, zero points.
    pub bytes: u64,
    /// Σ w².
    pub signal_squares: f64,
    /// Σ (w − ŵ)², and the largest |w − ŵ|, where ŵ is what a code stands for.
    pub errors: ErrorSums,
}

impl FormatSums {
    /// Signal-to-quantization-noise ratio in dB: infinite where all codes are exact, `None` where there
    /// is no signal.
    pub fn sqnr_db(&self) -> Option<f64> {
        self.errors.sqnr_db(self.signal_squares)
    }

    /// Stored bits a weight, scales included.
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.bytes as f64 / self.weights.max(1) as f64
    }

    fn add(&mut self, other: &Self) {
        self.weights += other.weights;
        self.bytes += other.bytes;
        self.signal_squares += other.signal_squares;
        self.errors.merge(&other.errors);
    }
}

/// Tensors, or groups of them, in several formats.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FormatMatrix {
    /// A name for each row, and its cells: one for each format, the same in every row.
    pub rows: Vec<(String, Vec<FormatCell>)>,
}

impl FormatMatrix {
    /// The same with rows put together that have one name: of layers of a projection, say. Sums add up;
    /// a format that one of the tensors cannot have, the row cannot.
    pub fn together(&self, name: impl Fn(&str) -> String) -> Self {
        let mut all = Self::default();
        for (tensor, cells) in &self.rows {
            let group = name(tensor);
            let Some((_, into)) = all.rows.iter_mut().find(|(name, _)| *name == group) else {
                all.rows.push((group, cells.clone()));
                continue;
            };
            for (into, cell) in into.iter_mut().zip(cells) {
                match (&mut into.outcome, &cell.outcome) {
                    (Ok(sums), Ok(more)) => sums.add(more),
                    (sums @ Ok(_), Err(why)) => *sums = Err(format!("{tensor}: {why}")),
                    (Err(_), _) => {}
                }
            }
        }
        all
    }

    /// A line for each tensor and format.
    pub fn csv(&self) -> String {
        let header = [
            "tensor",
            "format",
            "weights",
            "bytes",
            "bits_per_weight",
            "sqnr_db",
            "max_abs_error",
            "signal_squares",
            "error_squares",
            "why_not",
        ];
        let lines = self.rows.iter().flat_map(|(name, cells)| {
            cells.iter().map(move |cell| {
                let mut line =
                    vec![name.clone(), cell.format.map_or("float", Format::name).to_owned()];
                match &cell.outcome {
                    Ok(sums) => line.extend([
                        sums.weights.to_string(),
                        sums.bytes.to_string(),
                        sums.bits_per_weight().to_string(),
                        sums.sqnr_db().map_or_else(String::new, |ratio| ratio.to_string()),
                        sums.errors.max_abs.to_string(),
                        sums.signal_squares.to_string(),
                        sums.errors.sum_squares.to_string(),
                        String::new(),
                    ]),
                    Err(why) => {
                        line.extend(std::iter::repeat_n(String::new(), 7));
                        line.push(why.clone());
                    }
                }
                line
            })
        });
        table(&header, lines)
    }
}
