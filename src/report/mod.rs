//! Tables of what a plan says and a run measured: for the terminal, and as files. Every view is
//! made of the same values.

mod cell;
mod column;
mod file;
mod filter;
mod flat;
mod formats;
mod grid;
mod html;
mod order;
mod repair;
mod row;
mod scale;
mod summary;
pub mod svg;
mod term;
pub mod terminal;
mod text_table;
mod tie;
mod value;

pub use cell::{KEPT, NOTHING};
pub use column::{Column, Origin, UnknownColumn};
pub use file::{Report, ReportError, ReportFormat, check_file, write_file};
pub use filter::{Filter, FilterError};
pub use flat::table_text;
pub use formats::formats;
pub use grid::{Grid, GridColumn, is_small};
pub use order::{order, ordered};
pub use repair::repaired;
pub use row::{GroupBy, Row, grouped, rows, tensor_row, together};
pub use scale::{Scale, Spread, linear_ticks, log_ticks, tick_text};
pub use summary::Summary;
pub use text_table::TextTable;
pub use tie::tie_text;
pub use value::Value;
