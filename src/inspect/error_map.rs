//! Where in a matrix quantizing did what.
//!
//! An error is value − weight, in f64, as [`Cell::error`](super::Cell::error) has it. A step is what one
//! unit of a code is worth under the scale of the weight, without its sign:
//! [`BlockScale::step`](super::BlockScale::step). For NVFP4 that is the block's scale with the scale of
//! the tensor, for other formats the scale alone. Whole numbers are one step apart, so an error of one
//! that is not clipped is half a step at most. E2M1 numbers are half a step apart up to 2, one up to 4,
//! and two up to 6; E4M3 numbers from 2⁻⁹ of a step at zero to 32 steps at 448.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::table::table;
use super::{InspectError, Reader, Sheet, Span};

/// What errors in a cell are like.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ErrorCell {
    /// The error of the largest magnitude; of several the first, block by block.
    pub largest: f64,
    /// Root of the mean square of all errors.
    pub rms: f64,
    /// The error that is most steps, in steps.
    pub largest_steps: f64,
    /// Root of the mean square of all errors in steps.
    pub rms_steps: f64,
}

impl ErrorCell {
    /// Largest magnitude of an error.
    pub fn max_abs(self) -> f64 {
        self.largest.abs()
    }

    /// Largest magnitude of an error, in steps.
    pub fn max_abs_steps(self) -> f64 {
        self.largest_steps.abs()
    }
}

/// Errors of a whole matrix, reduced to cells.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorMap {
    /// Rows of a cell; the last may have fewer.
    pub cell_rows: u64,
    /// Columns of a cell; the last may have fewer.
    pub cell_columns: u64,
    /// Cells one below the other.
    pub rows: u64,
    /// Cells side by side.
    pub columns: u64,
    /// The cells, row by row.
    pub cells: Vec<ErrorCell>,
    /// Weights under a scale of zero, or of no finite number: they have errors but no steps, and are left
    /// out where steps are counted.
    pub stepless: u64,
}

/// Errors of a part of a matrix, one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorWindow {
    /// Which rows.
    pub rows: Range<u64>,
    /// Which columns.
    pub columns: Range<usize>,
    /// The errors, row by row.
    pub errors: Vec<f64>,
    /// The same in steps; NaN where there is no step.
    pub steps: Vec<f64>,
}

/// Calls `take` with row, column, error, and error in steps of each weight of a sheet, block by block.
fn for_errors(sheet: &Sheet, mut take: impl FnMut(u64, usize, f64, Option<f64>)) {
    let Some(weights) = &sheet.weights else { return };
    for Span { rows, columns, .. } in sheet.spans() {
        let scale = sheet.scale(rows.start, columns.start);
        let step = scale.map(|scale| f64::from(scale.step.abs()));
        let step = step.filter(|step| *step > 0.0 && step.is_finite());
        for row in rows {
            let line = sheet.line(row, columns.clone());
            let pairs = sheet.values[line.clone()].iter().zip(&weights[line]);
            for (column, (value, weight)) in columns.clone().zip(pairs) {
                let error = f64::from(*value) - f64::from(*weight);
                take(row, column, error, step.map(|step| error / step));
            }
        }
    }
}

impl ErrorMap {
    /// Cells along either side, as many as a picture needs.
    pub const SIDE: u64 = 1024;

    /// Reduces the errors of a matrix to at most `side` × `side` cells of equal size.
    pub fn of(reader: &Reader<'_>, cancel: &AtomicBool, side: u64) -> Result<Self, InspectError> {
        reader.need_errors()?;
        let (rows, columns) = (reader.matrix.rows, reader.matrix.weight_columns);
        let size = |length: u64| length.div_ceil(side.max(1)).max(1);
        let (cell_rows, cell_columns) = (size(rows), size(columns));
        let (down, across) = (rows.div_ceil(cell_rows), columns.div_ceil(cell_columns));
        // The first cell of each row, and how many cells on each column is: no divisions then.
        let row_cell: Vec<usize> =
            (0..rows).map(|row| (row / cell_rows * across) as usize).collect();
        let column_cell: Vec<usize> = (0..columns).map(|c| (c / cell_columns) as usize).collect();
        let mut cells = vec![ErrorCell::default(); (down * across) as usize];
        // Weights of each cell, and those of them that have a step.
        let mut counts = vec![[0u64; 2]; cells.len()];
        reader.for_each(cancel, |sheet| {
            for_errors(sheet, |row, column, error, steps| {
                let at = row_cell[row as usize] + column_cell[column];
                let (cell, count) = (&mut cells[at], &mut counts[at]);
                count[0] += 1;
                cell.rms += error * error;
                if error.abs() > cell.largest.abs() {
                    cell.largest = error;
                }
                let Some(steps) = steps else { return };
                count[1] += 1;
                cell.rms_steps += steps * steps;
                if steps.abs() > cell.largest_steps.abs() {
                    cell.largest_steps = steps;
                }
            });
            Ok(())
        })?;
        let mut stepless = 0;
        for (cell, [all, with_step]) in cells.iter_mut().zip(counts) {
            cell.rms = (cell.rms / all.max(1) as f64).sqrt();
            cell.rms_steps = (cell.rms_steps / with_step.max(1) as f64).sqrt();
            stepless += all - with_step;
        }
        Ok(Self { cell_rows, cell_columns, rows: down, columns: across, cells, stepless })
    }

    /// The cells, one a line, with the first row and column of each.
    pub fn csv(&self) -> String {
        let across = self.columns.max(1);
        let line = |(at, cell): (usize, &ErrorCell)| {
            let (row, column) = (at as u64 / across, at as u64 % across);
            let first = (row * self.cell_rows, column * self.cell_columns);
            let ErrorCell { largest, rms, largest_steps, rms_steps } = *cell;
            (first.0, first.1, cell.max_abs(), largest, rms, largest_steps, rms_steps)
        };
        let header = [
            "row",
            "column",
            "max_abs_error",
            "largest_error",
            "rms_error",
            "largest_error_steps",
            "rms_error_steps",
        ];
        table(&header, self.cells.iter().enumerate().map(line))
    }
}

impl ErrorWindow {
    /// The errors of weights in some rows and columns, as far as the matrix has them.
    pub fn of(
        reader: &Reader<'_>,
        cancel: &AtomicBool,
        rows: Range<u64>,
        columns: Range<usize>,
    ) -> Result<Self, InspectError> {
        reader.need_errors()?;
        let width = reader.matrix.weight_columns as usize;
        let (rows_end, columns_end) = (rows.end.min(reader.matrix.rows), columns.end.min(width));
        let rows = rows.start.min(rows_end)..rows_end;
        let columns = columns.start.min(columns_end)..columns_end;
        let size = (rows.end - rows.start) as usize * columns.len();
        let (mut errors, mut in_steps) = (vec![0.0; size], vec![f64::NAN; size]);
        // Without columns there is nothing to read, however many rows.
        let needed = if columns.is_empty() { 0..0 } else { rows.clone() };
        reader.for_rows(needed, cancel, |sheet| {
            for_errors(sheet, |row, column, error, steps| {
                if rows.contains(&row) && columns.contains(&column) {
                    let line = (row - rows.start) as usize * columns.len();
                    let at = line + column - columns.start;
                    (errors[at], in_steps[at]) = (error, steps.unwrap_or(f64::NAN));
                }
            });
            Ok(())
        })?;
        Ok(Self { rows, columns, errors, steps: in_steps })
    }

    /// Error and error in steps of a weight.
    pub fn at(&self, row: u64, column: usize) -> Option<(f64, f64)> {
        let is_in = self.rows.contains(&row) && self.columns.contains(&column);
        let line = (row.checked_sub(self.rows.start)?) as usize * self.columns.len();
        let at = line + column.checked_sub(self.columns.start)?;
        is_in.then(|| Some((*self.errors.get(at)?, *self.steps.get(at)?)))?
    }

    /// The errors, one a line.
    pub fn csv(&self) -> String {
        let width = self.columns.len().max(1);
        let line = |at: usize| {
            let (row, column) = (self.rows.start + (at / width) as u64, self.columns.start);
            (row, column + at % width, self.errors[at], self.steps[at])
        };
        table(&["row", "column", "error", "error_steps"], (0..self.errors.len()).map(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Weights;
    use crate::cpu::Cpu;
    use crate::format::Format;
    use crate::inspect::tests::{DOWN, GO, NORM, Seen};
    use crate::numeric::FloatKind;
    use crate::stats::ErrorSums;

    /// What the library says of all errors.
    fn sums(reader: &Reader<'_>) -> ErrorSums {
        let sheet = reader.sheet(0..reader.matrix.rows).unwrap();
        let weights = sheet.weights.unwrap();
        // The demo is in bf16, whose numbers f32 holds as well.
        let bytes = bytemuck::cast_slice(&weights);
        let weights = Weights { kind: FloatKind::F32, bytes };
        sheet.chunk.unwrap().errors(&Cpu, weights).unwrap().1
    }

    #[test]
    fn cells_add_up_to_what_the_library_measures() {
        for format in ["nvfp4", "mxfp4", "fp8-block", "fp8", "int4-g32", "int8"] {
            Seen::new(format.parse().unwrap()).read(DOWN, |reader| {
                let sums = sums(reader);
                for side in [1, 5, 100, ErrorMap::SIDE] {
                    let map = ErrorMap::of(reader, &GO, side).unwrap();
                    assert!(map.rows <= side && map.columns <= side && map.stepless == 0);
                    let max = map.cells.iter().fold(0f64, |max, cell| max.max(cell.max_abs()));
                    assert!((max / sums.max_abs - 1.0).abs() < 1e-6, "{format}");
                    let mut squares = 0.0;
                    for (at, cell) in map.cells.iter().enumerate() {
                        let first = (at as u64 / map.columns, at as u64 % map.columns);
                        let height = map.cell_rows.min(64 - first.0 * map.cell_rows);
                        let width = map.cell_columns.min(192 - first.1 * map.cell_columns);
                        squares += cell.rms * cell.rms * (height * width) as f64;
                    }
                    assert!((squares / sums.sum_squares - 1.0).abs() < 1e-5, "{format}");
                    assert_eq!(map.csv().lines().count(), map.cells.len() + 1);
                }
            });
        }
    }

    #[test]
    fn windows_have_the_errors_of_cells() {
        for format in [Format::Nvfp4, Format::Fp8Block, "int4-asym-g32".parse().unwrap()] {
            Seen::new(format).read(DOWN, |reader| {
                let window = ErrorWindow::of(reader, &GO, 10..20, 30..500).unwrap();
                assert_eq!((window.rows.clone(), window.columns.clone()), (10..20, 30..192));
                let sheet = reader.sheet(0..64).unwrap();
                for row in 10..20 {
                    for column in 30..192 {
                        let error = sheet.cell(row, column).unwrap().error().unwrap();
                        let step = f64::from(sheet.scale(row, column).unwrap().step);
                        assert_eq!(window.at(row, column), Some((error, error / step)));
                    }
                }
                assert_eq!((window.at(9, 30), window.at(10, 192)), (None, None));
                let whole = ErrorMap::of(reader, &GO, ErrorMap::SIDE).unwrap();
                let cell = whole.cells[10 * 192 + 30];
                assert_eq!((cell.largest, cell.largest_steps), window.at(10, 30).unwrap());
                let none = ErrorWindow::of(reader, &GO, 70..80, 0..5).unwrap();
                assert!(none.errors.is_empty() && none.csv().lines().count() == 1);
            });
        }
    }

    #[test]
    fn whole_numbers_are_half_a_step_off_at_most() {
        Seen::padded("int8-g128").read(DOWN, |reader| {
            let map = ErrorMap::of(reader, &GO, 16).unwrap();
            assert_eq!(map.cell_columns * map.columns, 192, "columns that fill up are no cells");
            let largest = map.cells.iter().fold(0f64, |max, cell| max.max(cell.max_abs_steps()));
            assert!(largest > 0.45 && largest < 0.51, "{largest}");
        });
    }

    #[test]
    fn errors_need_codes_and_floats() {
        Seen::new(Format::Nvfp4).read(NORM, |reader| {
            let found = ErrorMap::of(reader, &GO, 8);
            assert!(matches!(found, Err(InspectError::NoCodes { .. })));
        });
        Seen::stored(Format::Nvfp4).read(DOWN, |reader| {
            let found = ErrorMap::of(reader, &GO, 8);
            assert!(matches!(found, Err(InspectError::NoWeights { .. })));
        });
    }
}
