//! What can be done with cells.

use std::collections::BTreeSet;

use eframe::egui::Modifiers;

use super::grid::At;
use super::sheet::Sheet;

/// How what is clicked becomes selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It alone.
    Only,
    /// It as well, or no longer.
    Toggle,
    /// All from the last one to it.
    Range,
}

impl How {
    /// What modifier keys say.
    pub const fn of(modifiers: Modifiers) -> Self {
        match modifiers {
            Modifiers { shift: true, .. } => Self::Range,
            Modifiers { command: true, .. } => Self::Toggle,
            _ => Self::Only,
        }
    }

    /// What modifier keys say where there is no range.
    pub const fn without_range(modifiers: Modifiers) -> Self {
        if modifiers.command || modifiers.shift { Self::Toggle } else { Self::Only }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// To select cells.
    Select(Vec<At>, How),
    /// To show single experts of a layer, or all layers.
    Experts(Option<u32>),
}

/// Cells of the rectangle between two.
pub fn rectangle(a: At, b: At) -> Vec<At> {
    let (rows, columns) = (a.0.min(b.0)..=a.0.max(b.0), a.1.min(b.1)..=a.1.max(b.1));
    rows.flat_map(|r| columns.clone().map(move |c| (r, c))).collect()
}

/// Changes a selection of names.
pub fn select(selection: &mut BTreeSet<String>, sheet: &Sheet, cells: &[At], how: How) {
    let rows = cells.iter().filter_map(|at| sheet.cell(at.0, at.1));
    let names: BTreeSet<String> = rows.flat_map(|row| sheet.names(row)).cloned().collect();
    choose(selection, names, how);
}

/// Changes a selection of names.
pub fn choose(selection: &mut BTreeSet<String>, names: BTreeSet<String>, how: How) {
    match how {
        How::Only | How::Range => *selection = names,
        How::Toggle if names.is_subset(selection) => selection.retain(|name| !names.contains(name)),
        How::Toggle => selection.extend(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_adds_and_takes_away() {
        let set = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let mut selection = set(&["a"]);
        choose(&mut selection, set(&["b", "c"]), How::Toggle);
        assert_eq!(selection, set(&["a", "b", "c"]));
        choose(&mut selection, set(&["a", "b"]), How::Toggle);
        assert_eq!(selection, set(&["c"]));
        choose(&mut selection, set(&["d"]), How::Only);
        assert_eq!(selection, set(&["d"]));
        assert_eq!(rectangle((2, 1), (1, 2)), [(1, 1), (1, 2), (2, 1), (2, 2)]);
    }
}
