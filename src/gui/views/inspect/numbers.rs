//! The numbers of the view that is shown, as a table.

use super::{View, compare, experts, formats, saved};
use crate::gui::app::App;
use crate::gui::session::Loaded;
use crate::inspect::{Block, ErrorMap, Histogram, Outliers, Regimes, ScaleMap};

/// Makes a table: with millions of numbers that takes longer than a frame.
pub type Table = Box<dyn FnOnce() -> String + Send>;

/// The numbers of the view that is shown, with what they are of in the first line; `None` if it has none, or
/// they are not there yet.
pub fn numbers(app: &App) -> Option<Table> {
    let inspection = &app.session.inspection;
    let view = app.settings.view;
    let table = match view {
        View::Microscope | View::Ruler => {
            let focus = &inspection.focus;
            let block = Block::of(inspection.known_sheet()?, focus.row, focus.column)?;
            Box::new(move || block.csv())
        }
        View::Histogram => of(&inspection.histogram, Histogram::csv)?,
        View::Scales => of(&inspection.scales, |(map, _)| scales_csv(map))?,
        View::Errors => of(&inspection.errors, ErrorMap::csv)?,
        View::Outliers => of(&inspection.outliers, Outliers::csv)?,
        View::Regimes => of(&inspection.regimes, Regimes::csv)?,
        View::Codecs => {
            let codecs = app.views.inspect.codecs.clone();
            Box::new(move || codecs.csv())
        }
        View::Compare => made(compare::csv(app)?),
        View::Experts => made(experts::csv(app)?),
        View::Formats => made(formats::csv(app)?),
        _ => return None,
    };
    let stamp = match view.inspects() {
        true => saved::stamp(inspection.known_facts()?),
        false => saved::stamp_of(app),
    };
    Some(Box::new(move || format!("# {stamp}\n{}", table())))
}

/// The table of something that was read.
fn of<T: Send + Sync + 'static>(loaded: &Loaded<T>, csv: fn(&T) -> String) -> Option<Table> {
    let read = loaded.shared()?;
    Some(Box::new(move || csv(&read)))
}

fn made(table: String) -> Table {
    Box::new(move || table)
}

/// Scales one a line, or where they are so many that this would fill the memory as a grid of codes.
fn scales_csv(map: &ScaleMap) -> String {
    const MOST_LINES: usize = 1 << 20;
    if map.len() <= MOST_LINES {
        return map.csv();
    }
    let mut grid = Vec::new();
    // Writing to memory does not fail.
    let _ = map.write_grid(&mut grid);
    String::from_utf8(grid).unwrap_or_default()
}
