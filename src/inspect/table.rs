//! Data as CSV.

use serde::Serialize;

/// A header, and a line for each row, a tuple of numbers and words. Floats are written so that reading
/// them gives the same float.
pub(super) fn table<R: Serialize>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).expect("words always fit a CSV line");
    for row in rows {
        writer.serialize(row).expect("tuples of numbers and words always fit a CSV line");
    }
    let bytes = writer.into_inner().expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("numbers and words are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let rows = [("a", Some(0.1f32), u64::MAX), ("b", None, 0)];
        assert_eq!(table(&["x", "y", "z"], rows), "x,y,z\na,0.1,18446744073709551615\nb,,0\n");
    }
}
