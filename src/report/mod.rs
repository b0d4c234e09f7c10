//! Tables of what a plan says and a run measured: for the terminal, and as files. Every view is
//! made of the same values.

mod file;
mod formats;
mod repair;
mod row;
pub mod terminal;

pub use file::{Report, ReportError, ReportFormat, check_file};
pub use formats::formats;
pub use repair::repaired;
pub use row::{GroupBy, Row, grouped, rows};
