//! Whether stored tensors have the same bytes.

use std::ops::Range;

use super::{Checkpoint, CheckpointError, Tensor};

/// Bytes of each tensor that are read at once: many, for those that are stored column by column.
const BYTES_AT_ONCE: u64 = 8 << 20;

/// A tensor, and what it is in.
pub type Stored<'a> = (&'a Checkpoint, &'a Tensor);

/// Whether two tensors have the same bytes, whatever their types and dimensions are. Both are read up to the
/// first difference, and no further than `go_on` says.
pub fn equal_bytes(
    a: Stored<'_>,
    b: Stored<'_>,
    go_on: impl Fn() -> bool,
) -> Result<bool, CheckpointError> {
    let bytes = a.1.bytes;
    if bytes != b.1.bytes {
        return Ok(false);
    }
    let mut start = 0;
    while start < bytes && go_on() {
        let end = bytes.min(start + BYTES_AT_ONCE);
        if !equal_part(a, b, start..end)? {
            return Ok(false);
        }
        start = end;
    }
    Ok(true)
}

/// Whether two tensors have the same bytes in a range.
pub fn equal_part(
    a: Stored<'_>,
    b: Stored<'_>,
    range: Range<u64>,
) -> Result<bool, CheckpointError> {
    let read = |(checkpoint, tensor): Stored<'_>| {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        checkpoint.read_at(tensor, &mut bytes, range.start).map(|()| bytes)
    };
    Ok(read(a)? == read(b)?)
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

    use super::*;

    #[test]
    fn a_difference_is_found_wherever_it_is_until_told_to_stop() {
        let bytes = BYTES_AT_ONCE as usize + 1;
        let same = vec![7; bytes];
        let [mut first, mut last] = [same.clone(), same.clone()];
        (first[0], last[bytes - 1]) = (8, 8);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let data = [("a", &same), ("b", &same), ("first", &first), ("last", &last)];
        let views =
            data.map(|(name, data)| (name, TensorView::new(Dtype::U8, vec![bytes], data).unwrap()));
        let short = TensorView::new(Dtype::U8, vec![bytes - 1], &same[1..]).unwrap();
        serialize_to_file(views.into_iter().chain([("short", short)]), None, &path).unwrap();

        let checkpoint = Checkpoint::open(&path).unwrap();
        let stored = |name| (&checkpoint, checkpoint.tensor(name).unwrap());
        let equal = |name| equal_bytes(stored("a"), stored(name), || true).unwrap();
        assert_eq!(["b", "first", "last", "short"].map(equal), [true, false, false, false]);
        assert!(equal_bytes(stored("a"), stored("first"), || false).unwrap());
    }
}
