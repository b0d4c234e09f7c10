//! Rows of text as CSV.

/// A header and lines, with quotes where a text needs them.
pub fn csv(header: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail, and lines are as long as the header.
    let _ = writer.write_record(header);
    for line in lines {
        let _ = writer.write_record(line);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}
