//! What is in one matrix, number by number: its weights, their codes, scales and errors, exactly as the
//! kernels make or the files hold them. Plain values, for the window, for reports and for pictures.
//!
//! [`Matrix`] says which matrix, and finds it in a checkpoint, quantized or not. A [`Reader`] gives
//! [`Sheet`]s of it, rows with all that is known of them; everything else here is made from sheets.

mod against;
mod codec;
mod compare;
mod csv_table;
mod experts;
mod formats;
mod matrix;
mod reader;
mod sheet;

pub use codec::{Class, Codec, Field, FieldKind};
pub use compare::{
    Class as DifferenceClass, ClassMap, Comparison, Counts, Difference, Overview, OverviewRow,
    Side, SideCell, same_scale,
};
pub use experts::{ExpertCell, ExpertGrid, ExpertStatistic, ODD, OddExpert};
pub use formats::{
    FormatCell, FormatMatrix, FormatSums, Frontier, FrontierPoint, Upgrade, measure,
};
pub use matrix::{InspectError, Matrix, Subject};
pub use reader::Reader;
pub use sheet::{BlockScale, Cell, Sheet, Tile};
