//! Places in a matrix that are worth a look.

use std::sync::atomic::AtomicBool;

use super::{Block, InspectError, Reader, Ruler, Sheet, Tie};

/// A place that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The first weight of the largest magnitude.
    Largest,
    /// The first weight that lies exactly on a tie point, or else the first near one, among the first rows.
    Tie,
}

/// Weights that are searched for a tie: with so many there is nearly always one.
const TIE_WEIGHTS: u64 = 1 << 18;

/// Row and column of what is looked for; `None` if there is no such place.
pub fn find(
    reader: &Reader<'_>,
    wanted: Wanted,
    cancel: &AtomicBool,
) -> Result<Option<(u64, usize)>, InspectError> {
    match wanted {
        Wanted::Largest => largest(reader, cancel),
        Wanted::Tie => {
            let rows = (TIE_WEIGHTS / reader.matrix.columns.max(1)).max(1);
            let sheet = reader.sheet(0..rows.min(reader.matrix.rows))?;
            Ok(tie(&sheet, Tie::On).or_else(|| tie(&sheet, Tie::Near)))
        }
    }
}

fn largest(reader: &Reader<'_>, cancel: &AtomicBool) -> Result<Option<(u64, usize)>, InspectError> {
    let mut found: Option<(f32, u64, usize)> = None;
    reader.for_each(cancel, |sheet| {
        let values = sheet.weights.as_ref().unwrap_or(&sheet.values);
        for (place, value) in values.iter().enumerate() {
            if found.is_none_or(|(most, ..)| value.abs() > most) {
                let (row, column) = (place / sheet.columns, place % sheet.columns);
                found = Some((value.abs(), sheet.rows.start + row as u64, column));
            }
        }
        Ok(())
    })?;
    Ok(found.map(|(_, row, column)| (row, column)))
}

fn tie(sheet: &Sheet, wanted: Tie) -> Option<(u64, usize)> {
    let tile = sheet.tile();
    for row in sheet.rows.clone().step_by(tile.rows) {
        for column in (0..sheet.columns).step_by(tile.columns) {
            let block = Block::of(sheet, row, column)?;
            let ruler = Ruler::new(&block.coder, block.scale, &block.weights()?);
            if let Some(at) = ruler.ticks.iter().position(|tick| tick.tie == wanted) {
                let cell = &block.cells[at];
                return Some((cell.row, cell.column));
            }
        }
    }
    None
}
