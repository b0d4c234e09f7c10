//! What is known of an output that has just been written: checksums of every piece, and measurements of
//! every layer, taken while its weights were there.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::{Check, check};
use crate::checkpoint::{Checkpoint, CheckpointError, read_exact_at};
use crate::engine::{ChunkBuffer, EngineError, Piece};
use crate::export::ExportError;
use crate::plan::{Contents, Plan, PlannedFile};
use crate::quantized::Layer;
use crate::stats::{QuantizedStats, TensorStats};
use crate::units;

/// An output that has just been written.
pub struct Written<'a> {
    plan: &'a Plan,
    files: Vec<File>,
    /// In the order of files and places.
    pub pieces: &'a [Piece],
    measured: BTreeMap<&'a str, &'a QuantizedStats>,
}

impl<'a> Written<'a> {
    /// Opens the files of a plan in a folder, to read them back.
    pub fn new(
        folder: &Path,
        plan: &'a Plan,
        pieces: &'a [Piece],
        stats: &'a [Option<TensorStats>],
    ) -> Result<Self, ExportError> {
        let open = |name: &String| {
            let file = File::open(folder.join(name));
            file.map_err(|source| ExportError::io("read back", name, source))
        };
        let files = plan.files.iter().map(|file| open(&file.name)).collect::<Result<_, _>>()?;
        let measured = plan.entries.iter().zip(stats).filter_map(|(entry, stats)| {
            let quantized = stats.as_ref()?.quantized.as_ref()?;
            Some((entry.member.tensor.name.as_str(), quantized))
        });
        Ok(Self { plan, files, pieces, measured: measured.collect() })
    }

    /// What was measured of a layer when it was made.
    pub fn measured(&self, layer: &Layer) -> Option<&QuantizedStats> {
        self.measured.get(layer.weight.as_str()).copied()
    }

    /// The pieces, in groups of at most so many bytes, unless one alone has more.
    pub fn chunks(&self, bytes: u64) -> impl Iterator<Item = &'a [Piece]> {
        let mut rest = self.pieces;
        std::iter::from_fn(move || {
            let mut total = 0;
            let fit = rest.iter().take_while(|piece| {
                total += piece.bytes as u64;
                total <= bytes
            });
            let (chunk, more) = rest.split_at_checked(fit.count().max(1))?;
            rest = more;
            Some(chunk)
        })
    }

    /// Reads pieces again. Gives what is not as it was written.
    pub fn read_back(
        &self,
        pieces: &[Piece],
        buffer: &mut ChunkBuffer,
    ) -> Result<Vec<String>, EngineError> {
        let mut problems = Vec::new();
        for piece in pieces {
            let bytes = buffer.room(piece.bytes);
            let name = &self.plan.files[piece.file].name;
            read_exact_at(&self.files[piece.file], bytes, piece.offset)
                .map_err(|source| CheckpointError::Io { path: name.into(), source })?;
            if XxHash3_64::oneshot(bytes) != piece.hash {
                let (from, count) = (piece.offset, piece.bytes);
                problems.push(format!(
                    "{count} bytes at byte {from} of {name} are not what was written"
                ));
            }
        }
        Ok(problems)
    }

    /// Tensors that are read from elsewhere than where they were written to.
    fn misplaced(&self, opened: &Checkpoint) -> Vec<String> {
        let mut problems = Vec::new();
        for file in &self.plan.files {
            for placed in &file.tensors {
                let output = placed.of(&self.plan.entries);
                let is_there = opened.tensor(&output.name).is_some_and(|tensor| {
                    let read_from = &opened.files[tensor.file].name;
                    (read_from, tensor.offset, tensor.bytes)
                        == (&file.name, placed.begin, placed.bytes())
                });
                if !is_there {
                    problems.push(format!("{} is not read from where it is", output.name));
                }
            }
        }
        problems
    }
}

/// Places of files that were never written, or twice, and pieces that are nowhere in them.
fn gaps(files: &[PlannedFile], pieces: &[Piece]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut pieces = pieces.iter().peekable();
    for (number, file) in files.iter().enumerate() {
        for Range { start: mut at, end } in written_ranges(file) {
            let mut not_once = |from: u64, to: u64| {
                let (from, to) = (from.min(to), from.max(to));
                let name = &file.name;
                problems.push(format!("bytes {from} to {to} of {name} were not written once"));
            };
            while let Some(piece) = pieces.next_if(|p| p.file == number && p.offset < end) {
                if piece.offset != at {
                    not_once(at, piece.offset);
                }
                at = piece.offset + piece.bytes as u64;
            }
            if at != end {
                not_once(at, end);
            }
        }
    }
    if let Some(piece) = pieces.next() {
        let (from, name) = (piece.offset, &files[piece.file].name);
        problems.push(format!("what is at byte {from} of {name} has no place there"));
    }
    problems
}

/// What of a file is written in pieces: all behind a header; of a file for tensors nothing between them.
fn written_ranges(file: &PlannedFile) -> Vec<Range<u64>> {
    match file.contents {
        Contents::Safetensors(_) | Contents::Onnx(_) => {
            std::iter::once(file.data_start()..file.bytes).collect()
        }
        Contents::Data => file.tensors.iter().map(|tensor| tensor.begin..tensor.end).collect(),
    }
}

/// Whether everything was written, and is read as it was written.
pub fn check_pieces(
    written: &Written<'_>,
    opened: &Checkpoint,
    mut problems: Vec<String>,
) -> Check {
    problems.extend(gaps(&written.plan.files, written.pieces));
    problems.extend(written.misplaced(opened));
    let bytes: u64 = written.pieces.iter().map(|piece| piece.bytes as u64).sum();
    let detail = format!("{} read back as they were written", units::bytes(bytes));
    check("read back", problems, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Skeleton;
    use crate::plan::Placed;

    fn file(name: &str, contents: Contents, tensors: &[(u64, u64)], bytes: u64) -> PlannedFile {
        let placed = |&(begin, end): &(u64, u64)| Placed { entry: 0, output: 0, begin, end };
        let tensors = tensors.iter().map(placed).collect();
        PlannedFile { name: name.to_owned(), tensors, contents, bytes }
    }

    fn found(pieces: &[(usize, Range<u64>)]) -> Vec<String> {
        let model = Contents::Onnx(Skeleton::default());
        let files = [
            // A header of 10 bytes.
            file(
                "a",
                Contents::Safetensors(Default::default()),
                &[(0, 30), (30, 30), (30, 50)],
                60,
            ),
            file("model", model, &[(5, 20)], 40),
            file("data", Contents::Data, &[(0, 8), (64, 70)], 70),
        ];
        let piece = |(file, range): &(usize, Range<u64>)| Piece {
            file: *file,
            offset: range.start,
            bytes: (range.end - range.start) as usize,
            hash: 0,
        };
        gaps(&files, &pieces.iter().map(piece).collect::<Vec<_>>())
    }

    #[test]
    fn all_that_is_in_a_file_is_written_once() {
        let all =
            [(0, 10..40), (0, 40..60), (1, 0..5), (1, 5..20), (1, 20..40), (2, 0..8), (2, 64..70)];
        assert_eq!(found(&all), Vec::<String>::new());
        for missing in 0..all.len() {
            let mut pieces = all.to_vec();
            let (_, range) = pieces.remove(missing);
            assert!(!found(&pieces).is_empty(), "{range:?} is missing");
        }
        let what_is_wrong = [
            ((0, 40..59), "bytes 59 to 60 of a were not written once"),
            ((0, 39..60), "bytes 39 to 40 of a were not written once"),
            ((2, 64..71), "bytes 70 to 71 of data were not written once"),
        ];
        for ((file, range), problem) in what_is_wrong {
            let mut pieces = all.to_vec();
            let place = pieces.iter().position(|(other, old)| {
                *other == file && (old.end == range.end || old.start == range.start)
            });
            pieces[place.unwrap()] = (file, range);
            assert_eq!(found(&pieces), [problem]);
        }
        let mut pieces = all.to_vec();
        pieces.push((2, 70..80));
        assert_eq!(found(&pieces), ["what is at byte 70 of data has no place there"]);
    }
}
