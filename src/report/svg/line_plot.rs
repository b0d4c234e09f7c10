//! A line plot: a number by layer, a line a projection.

use super::{
    LINE, MARGIN, MUTED, Rgb, TEXT, document, escape, hex, line, text, top_of, width_of,
    width_of_head,
};
use crate::report::{Column, linear_ticks, log_ticks, tick_text};

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct PlotLine {
    /// Its name.
    pub name: String,
    /// Its colour.
    pub colour: Rgb,
    /// Whether it is dashed, to tell it from another of its colour.
    pub dashed: bool,
    /// Layers and numbers.
    pub points: Vec<(f64, f64)>,
}

/// A line plot.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePlot {
    /// What it is of.
    pub title: String,
    /// What its numbers are.
    pub about: String,
    /// The column of its numbers. Magnitudes are on a logarithmic axis.
    pub column: Column,
    /// The lines.
    pub lines: Vec<PlotLine>,
    /// A number that a line is drawn at.
    pub threshold: Option<f64>,
}

const SIZE: [f64; 2] = [820.0, 420.0];

/// Where numbers are in the picture.
struct Axes {
    left: f64,
    top: f64,
    x: (f64, f64),
    y: (f64, f64),
    is_log: bool,
}

impl Axes {
    fn x(&self, layer: f64) -> f64 {
        self.left + SIZE[0] * (layer - self.x.0) / (self.x.1 - self.x.0)
    }

    fn y(&self, number: f64) -> f64 {
        let place = |number: f64| if self.is_log { number.log10() } else { number };
        let (low, high) = (place(self.y.0), place(self.y.1));
        self.top + SIZE[1] * (1.0 - (place(number) - low) / (high - low))
    }
}

/// Draws it.
pub fn line_plot(plot: &LinePlot) -> String {
    let is_log = plot.column.is_magnitude();
    let is_shown = |number: f64| number.is_finite() && (!is_log || number > 0.0);
    let points = plot.lines.iter().flat_map(|line| line.points.iter().copied());
    let points: Vec<(f64, f64)> = points.filter(|(_, y)| is_shown(*y)).collect();
    let threshold = plot.threshold.filter(|number| is_shown(*number));
    let top = top_of(&plot.about) + 4.0;
    let x = range(points.iter().map(|point| point.0)).unwrap_or((0.0, 1.0));
    let y = range(points.iter().map(|point| point.1).chain(threshold)).unwrap_or((1.0, 10.0));
    let y = match is_log {
        true => (y.0 / 1.15, y.1 * 1.15),
        false => (y.0 - 0.05 * (y.1 - y.0).max(0.1), y.1 + 0.05 * (y.1 - y.0).max(0.1)),
    };
    let x = if x.0 < x.1 { x } else { (x.0 - 0.5, x.1 + 0.5) };
    let ticks = if is_log { log_ticks(y.0, y.1) } else { linear_ticks(y.0, y.1) };
    let shown: Vec<String> = ticks.iter().map(|tick| tick_text(*tick)).collect();
    let label = shown.iter().map(|text| width_of(text, 11.0)).fold(20.0, f64::max);
    let axes = Axes { left: MARGIN + label + 10.0, top, x, y, is_log };
    let (right, bottom) = (axes.left + SIZE[0], top + SIZE[1]);

    let mut picture = String::new();
    for (tick, shown) in ticks.iter().zip(&shown) {
        let y = axes.y(*tick);
        picture += &line(axes.left, y, right, y, LINE, 1.0);
        picture += &text(axes.left - 8.0, y + 4.0, "end", MUTED, 11.0, &escape(shown));
    }
    for layer in linear_ticks(x.0, x.1).into_iter().filter(|layer| layer.fract() == 0.0) {
        let x = axes.x(layer);
        picture += &line(x, bottom, x, bottom + 4.0, MUTED, 1.0);
        picture += &text(x, bottom + 18.0, "middle", MUTED, 11.0, &format!("{layer:.0}"));
    }
    picture += &line(axes.left, bottom, right, bottom, MUTED, 1.0);
    picture += &text(f64::midpoint(axes.left, right), bottom + 36.0, "middle", TEXT, 11.0, "layer");
    for line in &plot.lines {
        picture += &line_of(line, &axes, is_shown);
    }
    if let Some(number) = threshold {
        let (y, colour) = (axes.y(number), hex(TEXT));
        let left = axes.left;
        picture += &format!(
            "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"{colour}\" stroke-dasharray=\"5 4\"/>\n"
        );
        let said = escape(&plot.column.shown(number));
        picture += &text(right - 4.0, y - 5.0, "end", TEXT, 11.0, &format!("threshold {said}"));
    }
    let legend = right + 24.0;
    for (i, line_) in plot.lines.iter().enumerate() {
        let y = top + 8.0 + 18.0 * i as f64;
        picture += &line(legend, y, legend + 16.0, y, line_.colour, 2.5);
        picture += &text(legend + 22.0, y + 4.0, "start", TEXT, 11.0, &escape(&line_.name));
    }
    let names = plot.lines.iter().map(|line| width_of(&line.name, 11.0)).fold(0.0, f64::max);
    let width = (legend + 22.0 + names + MARGIN).max(width_of_head(&plot.title, &plot.about));
    let height = (bottom + 62.0).max(top + 18.0 * plot.lines.len() as f64 + 34.0);
    document(width, height, &plot.title, &plot.about, &picture)
}

/// A line through its points; broken where a number cannot be shown.
fn line_of(line: &PlotLine, axes: &Axes, is_shown: impl Fn(f64) -> bool) -> String {
    let (colour, name) = (hex(line.colour), escape(&line.name));
    let (mut path, mut dots, mut pen) = (String::new(), String::new(), 'M');
    for (layer, number) in &line.points {
        if !is_shown(*number) {
            pen = 'M';
            continue;
        }
        let (x, y) = (axes.x(*layer), axes.y(*number));
        path += &format!("{pen}{x:.1} {y:.1}");
        dots += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/>");
        pen = 'L';
    }
    let dashes = if line.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
    format!(
        "<g fill=\"{colour}\"><title>{name}</title>\
         <path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dashes}/>{dots}</g>\n"
    )
}

fn range(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let ends = |ends: Option<(f64, f64)>, n: f64| {
        Some(ends.map_or((n, n), |(low, high)| (low.min(n), high.max(n))))
    };
    numbers.fold(None, ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::svg::tests::assert_well_formed;

    #[test]
    fn lines_ticks_and_threshold_are_there() {
        let plot = LinePlot {
            title: "demo".to_owned(),
            about: "amax by layer".to_owned(),
            column: Column::Amax,
            lines: vec![PlotLine {
                name: "q<proj".to_owned(),
                colour: [1, 2, 3],
                dashed: true,
                points: vec![(0.0, 0.5), (1.0, f64::NAN), (2.0, 4.0), (3.0, 0.0)],
            }],
            threshold: Some(2.0),
        };
        let svg = line_plot(&plot);
        assert_well_formed(&svg);
        assert_eq!(svg.matches("<circle ").count(), 2, "two points can be shown");
        for text in ["q&lt;proj", "threshold 2.000", "layer", ">0.5<", "#010203"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let empty = LinePlot { lines: Vec::new(), threshold: None, ..plot };
        assert_well_formed(&line_plot(&empty));
        let linear = LinePlot { column: Column::Sqnr, ..empty };
        assert_well_formed(&line_plot(&linear));
    }
}
