//! Numbers as people read them.

/// Bytes with a binary unit and one decimal: `512 B`, `1.5 KiB`, `2.0 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Four significant digits: `0.1234`, `12.34`, `1.234e-7`; `0` for zero.
pub fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        format!("{value:.*}", (3 - exponent).max(0) as usize)
    } else {
        format!("{value:.3e}")
    }
}

/// A shape: `4096×14336`, `scalar`.
pub fn shape(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("×")
}

/// A name from a file, its control characters escaped: no name may move the cursor or end a line.
pub fn name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    push_name(&mut text, name);
    text
}

/// Adds a name to a text as [`name`] has it.
pub fn push_name(text: &mut String, name: &str) {
    for piece in name.split_inclusive(char::is_control) {
        match piece.char_indices().next_back() {
            Some((at, last)) if last.is_control() => {
                text.push_str(&piece[..at]);
                text.extend(last.escape_default());
            }
            _ => text.push_str(piece),
        }
    }
}

/// A number of things: `1 tensor`, `2 tensors`.
pub fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_at_the_edges_of_units() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (2_684_354_560, "2.5 GiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(name("a\u{1b}[31mb\nc ü"), "a\\u{1b}[31mb\\nc ü");
    }

    #[test]
    fn significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.123456, "0.1235"),
            (-12.3456, "-12.35"),
            (448.0, "448.0"),
            (65504.0, "65504"),
            (1.5e-7, "1.500e-7"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(significant(value), text);
        }
    }
}
