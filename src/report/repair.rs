//! What a repair did, for the terminal.

use super::cell::NOTHING;
use super::terminal::table;
use crate::export::repair::Repaired;
use crate::units::name;

/// A line for each kind of repair, and a row for each layer whose steps changed.
pub fn repaired(repaired: &Repaired) -> String {
    let lines = repaired.repairs.iter().map(|repair| name(&repair.to_string()));
    let mut text: String = lines.map(|line| format!("repaired  {line}\n")).collect();
    if !repaired.rescaled.is_empty() {
        let rows = repaired.rescaled.iter().map(|layer| {
            let sqnr = layer.sqnr_db.map_or_else(|| NOTHING.to_owned(), |db| format!("{db:.2}"));
            let (before, after) = (format!("{:e}", layer.before), format!("{:e}", layer.after));
            vec![layer.module.clone(), before, after, sqnr]
        });
        text += &table(&["tensor", "global scale", "now", "SQNR dB to before"], rows).to_string();
        text.push('\n');
    }
    text
}
