//! What is in one matrix, number by number: its weights, their codes, scales and errors, exactly as the
//! kernels make or the files hold them. Plain values, for the window, for reports and for pictures.
//!
//! [`Matrix`] says which matrix, and finds it in a checkpoint, quantized or not. A [`Reader`] gives
//! [`Sheet`]s of it, rows with all that is known of them; everything else here is made from sheets.

mod against;
mod amax;
mod block;
mod codec;
mod coder;
mod compare;
mod error_map;
mod experts;
mod explain;
mod find;
mod formats;
mod histogram;
mod matrix;
mod median;
mod normal;
mod outliers;
mod reader;
mod regimes;
mod ruler;
mod scale_map;
mod sheet;
mod span;
mod table;
#[cfg(test)]
mod tests;

pub use block::Block;
pub use codec::{Class, Codec, Field, FieldKind};
pub use coder::BlockCoder;
pub use compare::{
    Class as DifferenceClass, ClassMap, Comparison, Counts, Difference, Overview, OverviewRow,
    Side, SideCell, same_scale,
};
pub use error_map::{ErrorCell, ErrorMap, ErrorWindow};
pub use experts::{ExpertCell, ExpertGrid, ExpertStatistic, ODD, OddExpert};
pub use explain::{Step, explain};
pub use find::{Wanted, find};
pub use formats::{
    FormatCell, FormatMatrix, FormatSums, Frontier, FrontierPoint, Upgrade, measure,
};
pub use histogram::{Axis, Bin, CodeMark, Histogram, Region};
pub use matrix::{InspectError, Matrix, Subject};
pub use outliers::{BlockLength, LengthAmax, Line, Outlier, Outliers};
pub use reader::Reader;
pub use regimes::{Boundary, Point, Reference, Regime, Regimes};
pub use ruler::{Mark, Ruler, Tick, Tie};
pub use scale_map::{Level, ScaleClass, ScaleMap, Scales};
pub use sheet::{BlockScale, Cell, Sheet, Tile};
pub use span::{Numbers, Span};
