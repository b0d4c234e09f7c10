//! Sizes on the command line.

/// Bytes of a size such as `5GB`, `512MiB`, `1000`: powers of 1000 for `KB`, `MB`, `GB`, `TB`, of
/// 1024 for `KiB` and so on.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "tb" => 1000 * 1000 * 1000 * 1000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(format!("unknown unit \"{unit}\"; write it as in 5GB or 512MiB")),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("not a size; write it as in 5GB or 512MiB".to_owned()),
    }
}

/// Width and height, as in `1440x900`.
pub fn parse_extent(text: &str) -> Result<[u16; 2], String> {
    let side = |side: &str| side.parse().ok().filter(|n| (200..=8000).contains(n));
    let sides =
        text.split_once('x').and_then(|(width, height)| Some([side(width)?, side(height)?]));
    sides.ok_or_else(|| {
        "not a width and a height from 200 to 8000; write them as in 1440x900".to_owned()
    })
}

/// A size as [`parse`] reads it, in the largest unit that it is a whole number of.
pub fn exact(bytes: u64) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("TB", 1000 * 1000 * 1000 * 1000),
        ("GiB", 1 << 30),
        ("GB", 1000 * 1000 * 1000),
        ("MiB", 1 << 20),
        ("MB", 1000 * 1000),
        ("KB", 1000),
    ];
    let whole = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        assert_eq!(parse("5GB"), Ok(5_000_000_000));
        assert_eq!(parse("512MiB"), Ok(512 << 20));
        assert_eq!(parse("10 kb"), Ok(10_000));
        assert_eq!(parse("77"), Ok(77));
        for wrong in ["", "GB", "5XB", "-1", "0", "99999999999999999999", "99999999999TB", "1.5GB"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_come_back_from_their_text() {
        for (bytes, text) in [
            (5_000_000_000, "5GB"),
            (512 << 20, "512MiB"),
            (3 << 40, "3072GiB"),
            (2_500_000, "2500KB"),
            (4096, "4096"),
            (7_000_000_000_000, "7TB"),
        ] {
            assert_eq!(exact(bytes), text);
            assert_eq!(parse(text), Ok(bytes));
        }
        assert_eq!(parse(&exact(u64::MAX)), Ok(u64::MAX));
    }
}
