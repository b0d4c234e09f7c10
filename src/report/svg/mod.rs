//! Pictures as SVG, from the values that the window shows. Colours are the caller's.

mod heat_map;
mod line_plot;

pub use heat_map::{HeatCell, HeatMap, Ink, heat_map};
pub use line_plot::{LinePlot, PlotLine, line_plot};

/// A colour: red, green, blue.
pub type Rgb = [u8; 3];

/// Colours of what is no value.
const TEXT: Rgb = [0x1C, 0x21, 0x27];
const MUTED: Rgb = [0x58, 0x62, 0x70];
const LINE: Rgb = [0xD3, 0xD8, 0xDF];

/// Distance of everything from the edge.
const MARGIN: f64 = 24.0;

/// About as wide as a text is; there is no font to ask.
fn width_of(text: &str, size: f64) -> f64 {
    0.58 * size * text.chars().count() as f64
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A text in XML. Control characters are not allowed there.
pub(super) fn escape(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => '\u{FFFD}'.to_string(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Lines of a text, none much longer than can be read with ease.
fn wrapped(text: &str) -> Vec<String> {
    const MOST: usize = 110;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < MOST => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Where the picture begins, below a title and what it is about.
fn top_of(about: &str) -> f64 {
    MARGIN + 24.0 + 15.0 * wrapped(about).len() as f64 + 10.0
}

/// How wide a title is and what it is about, with the margins.
fn width_of_head(title: &str, about: &str) -> f64 {
    let lines = wrapped(about).into_iter().map(|line| width_of(&line, 11.0));
    2.0 * MARGIN + lines.fold(width_of(title, 16.0), f64::max)
}

/// The whole file: a title, what it is about, and the picture below them.
fn document(width: f64, height: f64, title: &str, about: &str, picture: &str) -> String {
    let made = format!("quantscope {}", env!("CARGO_PKG_VERSION"));
    let lines = wrapped(about);
    let (title, about) = (escape(title), escape(about));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         font-family=\"Inter, Helvetica, Arial, sans-serif\" font-size=\"11\">\n\
         <title>{title}</title>\n<desc>{about}</desc>\n\
         <path d=\"M0 0H{width:.0}V{height:.0}H0Z\" fill=\"#ffffff\"/>\n"
    );
    svg += &text(MARGIN, MARGIN + 10.0, "start", TEXT, 16.0, &title);
    for (i, line) in lines.iter().enumerate() {
        let y = MARGIN + 30.0 + 15.0 * i as f64;
        svg += &text(MARGIN, y, "start", MUTED, 11.0, &escape(line));
    }
    svg += picture;
    svg += &text(width - MARGIN, height - 10.0, "end", MUTED, 10.0, &made);
    svg += "</svg>\n";
    svg
}

/// A text, which is escaped already, with its anchor at a point of its base line.
fn text(x: f64, y: f64, anchor: &str, colour: Rgb, size: f64, escaped: &str) -> String {
    let colour = hex(colour);
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
         fill=\"{colour}\">{escaped}</text>\n"
    )
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: Rgb, width: f64) -> String {
    let colour = hex(colour);
    format!(
        "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\" \
         stroke-width=\"{width}\" fill=\"none\"/>\n"
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Fails unless every element is closed in its turn and every text is escaped.
    pub fn assert_well_formed(svg: &str) {
        let mut open: Vec<&str> = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("every tag ends");
            assert!(!text.contains('>'), "{part}");
            for piece in text.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;"];
                assert!(known.iter().any(|entity| piece.starts_with(entity)), "{text}");
            }
            assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
            let name = tag.split([' ', '/']).next().unwrap();
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
                None if tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn no_name_can_become_markup() {
        assert_eq!(escape("a<b>&\"\u{1b}\n"), "a&lt;b&gt;&amp;&quot;\u{FFFD}\u{FFFD}");
        let svg = document(100.0, 50.0, "</svg><script>", "x & y", "");
        assert_well_formed(&svg);
        assert!(!svg.contains("<script>") && svg.contains("quantscope "));
    }
}
