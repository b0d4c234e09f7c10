//! Data as CSV.

use serde::Serialize;

/// A header, and a line for each row, a tuple of numbers and words or a list of texts. Floats are written
/// so that reading them gives the same float.
pub(super) fn table<R: Serialize>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail, and lines are as long as the header.
    let _ = writer.write_record(header);
    for row in rows {
        let _ = writer.serialize(row);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
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
