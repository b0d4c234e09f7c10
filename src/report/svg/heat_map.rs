//! A heat map: rows, columns, and a coloured cell for each pair that there is.

use super::{
    LINE, MARGIN, MUTED, Rgb, TEXT, document, escape, hex, line, text, top_of, width_of,
    width_of_head,
};

/// What a cell is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ink {
    /// The colour of its number, and the colour of text on it.
    Number(Rgb, Rgb),
    /// The same, of a part of its tensors.
    Partial(Rgb, Rgb),
    /// NaN or infinite: a cross.
    NotFinite,
    /// Not measured yet: hatched.
    Pending,
    /// There is no such number: a dot.
    Nothing,
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatCell {
    /// What it says when it is pointed at.
    pub said: String,
    /// What is written in it.
    pub text: String,
    /// What it is filled with.
    pub ink: Ink,
}

/// A heat map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeatMap {
    /// What it is of.
    pub title: String,
    /// What its colours stand for.
    pub about: String,
    /// What the rows are, such as `layer`.
    pub row_title: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The cells by row and column; `None` where there is none.
    pub cells: Vec<Vec<Option<HeatCell>>>,
    /// Cells beside the rows and columns, each with its name.
    pub outside: Vec<(String, HeatCell)>,
    /// Colours from the smallest number to the largest.
    pub gradient: Vec<Rgb>,
    /// What stands at the two ends of the gradient.
    pub ends: [String; 2],
}

const CELL: [f64; 2] = [62.0, 20.0];
/// Width of the gradient.
const GRADIENT: f64 = 200.0;

/// Draws it.
pub fn heat_map(map: &HeatMap) -> String {
    let names = map.rows.iter().chain([&map.row_title]);
    let label = names.map(|name| width_of(name, 11.0)).fold(20.0, f64::max) + 10.0;
    // Column names rise at 45 degrees, the last one beyond the last column.
    let rise = map.columns.iter().map(|name| width_of(name, 11.0)).fold(0.0, f64::max) * 0.71;
    let legend = top_of(&map.about);
    let top = legend + 40.0 + rise;
    let left = MARGIN + label;
    let mut picture = legend_of(map, legend);
    let row_title = escape(&map.row_title);
    picture += &text(left - 8.0, top - 8.0, "end", MUTED, 11.0, &row_title);
    for (c, name) in map.columns.iter().enumerate() {
        let x = left + (c as f64 + 0.5) * CELL[0];
        let (y, colour, name) = (top - 6.0, hex(TEXT), escape(name));
        picture += &format!(
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-45)\" fill=\"{colour}\">{name}</text>\n"
        );
    }
    for (r, (name, cells)) in map.rows.iter().zip(&map.cells).enumerate() {
        let y = top + r as f64 * CELL[1];
        picture += &text(left - 8.0, y + 14.0, "end", MUTED, 11.0, &escape(name));
        for (c, cell) in cells.iter().enumerate() {
            let cell = cell.as_ref().map(|cell| cell_of(left + c as f64 * CELL[0], y, cell));
            picture += &cell.unwrap_or_default();
        }
    }
    let bottom = top + map.rows.len() as f64 * CELL[1];
    for (i, (name, cell)) in map.outside.iter().enumerate() {
        let y = bottom + 14.0 + i as f64 * (CELL[1] + 2.0);
        picture += &cell_of(left, y, cell);
        picture += &text(left + CELL[0] + 8.0, y + 14.0, "start", TEXT, 11.0, &escape(name));
    }
    let below = if map.outside.is_empty() { 0.0 } else { 14.0 };
    let height = bottom + below + map.outside.len() as f64 * (CELL[1] + 2.0) + 34.0;
    let outside = map.outside.iter().map(|(name, _)| CELL[0] + 8.0 + width_of(name, 11.0));
    let columns = map.columns.len() as f64 * CELL[0] + rise;
    let body = left + outside.fold(columns, f64::max);
    let head = width_of_head(&map.title, &map.about);
    let width = (body + MARGIN).max(head).max(2.0 * (MARGIN + 90.0) + GRADIENT);
    document(width, height, &map.title, &map.about, &picture)
}

/// A cell of the map, in a group with what it says.
fn cell_of(x: f64, y: f64, cell: &HeatCell) -> String {
    let [width, height] = [CELL[0] - 2.0, CELL[1] - 2.0];
    let said = escape(&cell.said);
    let rect = |fill: &str, stroke: Rgb| {
        let stroke = hex(stroke);
        format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" rx=\"2\" \
             fill=\"{fill}\" stroke=\"{stroke}\"/>"
        )
    };
    let (middle, centre) = (x + width / 2.0, y + height / 2.0);
    let mark = match cell.ink {
        Ink::Number(fill, on) | Ink::Partial(fill, on) => {
            let more = if matches!(cell.ink, Ink::Partial(..)) { "…" } else { "" };
            let shown = format!("{}{more}", escape(&cell.text));
            rect(&hex(fill), fill) + &text(middle, centre + 4.0, "middle", on, 10.0, &shown)
        }
        Ink::NotFinite => {
            let (a, b) = (middle - 4.0, middle + 4.0);
            rect("#ffffff", MUTED)
                + &line(a, centre - 4.0, b, centre + 4.0, TEXT, 1.5)
                + &line(a, centre + 4.0, b, centre - 4.0, TEXT, 1.5)
        }
        Ink::Pending => {
            let strokes = (1..6).map(|i| {
                let at = x + f64::from(i) * width / 6.0;
                line(at - 4.0, y + height - 3.0, at + 4.0, y + 3.0, LINE, 1.0)
            });
            rect("#ffffff", LINE) + &strokes.collect::<String>()
        }
        Ink::Nothing => {
            let fill = hex(MUTED);
            let dot = format!(
                "<circle cx=\"{middle:.1}\" cy=\"{centre:.1}\" r=\"1.5\" fill=\"{fill}\"/>\n"
            );
            rect("#ffffff", LINE) + &dot
        }
    };
    format!("<g><title>{said}</title>{mark}</g>\n")
}

/// The gradient, and what stands at its ends.
fn legend_of(map: &HeatMap, y: f64) -> String {
    let last = map.gradient.len().saturating_sub(1).max(1) as f64;
    if map.gradient.is_empty() {
        return String::new();
    }
    let stop = |(i, colour): (usize, &Rgb)| {
        let (offset, colour) = (100.0 * i as f64 / last, hex(*colour));
        format!("<stop offset=\"{offset:.1}%\" stop-color=\"{colour}\"/>")
    };
    let stops: String = map.gradient.iter().enumerate().map(stop).collect();
    let [low, high] = map.ends.clone().map(|end| escape(&end));
    let x = MARGIN + width_of(&map.ends[0], 11.0) + 8.0;
    let (end, bottom) = (x + GRADIENT, y + 12.0);
    format!(
        "<defs><linearGradient id=\"scale\">{stops}</linearGradient></defs>\n\
         <path d=\"M{x:.1} {y:.1}H{end:.1}V{bottom:.1}H{x:.1}Z\" fill=\"url(#scale)\"/>\n"
    ) + &text(x - 8.0, y + 10.0, "end", TEXT, 11.0, &low)
        + &text(end + 8.0, y + 10.0, "start", TEXT, 11.0, &high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::svg::tests::assert_well_formed;

    #[test]
    fn every_cell_is_one_rectangle_and_every_name_is_there() {
        let cell = |ink| Some(HeatCell { said: "a < b".to_owned(), text: "1.5".to_owned(), ink });
        let map = HeatMap {
            title: "R&D".to_owned(),
            about: "amax".to_owned(),
            row_title: "layer".to_owned(),
            rows: vec!["0".to_owned(), "1".to_owned()],
            columns: vec!["q_proj".to_owned(), "<k_proj>".to_owned()],
            cells: vec![
                vec![cell(Ink::Number([0; 3], [255; 3])), cell(Ink::Pending)],
                vec![None, cell(Ink::NotFinite)],
            ],
            outside: vec![("lm_head".to_owned(), cell(Ink::Nothing).unwrap())],
            gradient: vec![[0; 3], [255; 3]],
            ends: ["0".to_owned(), "9".to_owned()],
        };
        let svg = heat_map(&map);
        assert_well_formed(&svg);
        assert_eq!(svg.matches("<rect ").count(), 4);
        for text in ["R&amp;D", "q_proj", "&lt;k_proj&gt;", "lm_head", ">1.5<", "linearGradient"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_well_formed(&heat_map(&HeatMap::default()));
    }
}
