//! What is in one matrix, number by number: its weights, their codes, scales and errors, exactly as the
//! kernels make or the files hold them. Plain values, for the window, for reports and for pictures.
//!
//! [`Matrix`] says which matrix, and finds it in a checkpoint, quantized or not. A [`Reader`] gives
//! [`Sheet`]s of it, rows with all that is known of them; everything else here is made from sheets.

mod block;
mod codec;
mod coder;
mod explain;
mod find;
mod matrix;
mod reader;
mod ruler;
mod sheet;

pub use block::Block;
pub use codec::{Class, Codec, Field, FieldKind};
pub use coder::BlockCoder;
pub use explain::{Step, explain};
pub use find::{Wanted, find};
pub use matrix::{InspectError, Matrix, Subject};
pub use reader::Reader;
pub use ruler::{Mark, Ruler, Tick, Tie};
pub use sheet::{BlockScale, Cell, Sheet, Tile};
