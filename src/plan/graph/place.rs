//! Where outputs are written: in the model's file or in the one for tensors.

use std::collections::BTreeMap;

use super::Build;
use crate::dialect::Part;
use crate::onnx::{Data, Hole, Piece, Place, Skeleton};
use crate::plan::layout::{Contents, Placed, PlannedFile};

/// Tensors of this size begin at whole pages of the largest kind, which some runtimes map.
const LARGE_BYTES: u64 = 1 << 20;
const LARGE_ALIGNMENT: u64 = 64 << 10;
const SMALL_ALIGNMENT: u64 = 64;

impl Build<'_> {
    /// A place for an output.
    pub(super) fn place(&mut self, entry: usize, output: usize) -> Data {
        let planned = &self.entries[entry].outputs[output];
        let bytes = planned.bytes();
        let Some(location) = self.data_name else {
            self.ids.push((entry, output));
            return Data::Hole(Hole { id: self.ids.len() - 1, bytes });
        };
        let alignment = if bytes >= LARGE_BYTES { LARGE_ALIGNMENT } else { SMALL_ALIGNMENT };
        let begin = self.data_end.next_multiple_of(alignment);
        self.data_end = begin + bytes;
        self.data.push(Placed { entry, output, begin, end: self.data_end });
        Data::External { location: location.to_owned(), offset: begin, length: bytes }
    }

    /// The model's file, with the places of all outputs in it.
    pub(super) fn model_file(&self, name: &str, skeleton: Skeleton) -> PlannedFile {
        let mut tensors = Vec::new();
        let placed = |(entry, output): (usize, usize), begin| {
            let end = begin + self.entries[entry].outputs[output].bytes();
            Placed { entry, output, begin, end }
        };
        let kept = self.kept_inline();
        for (begin, piece) in skeleton.placed() {
            match piece {
                Piece::Hole(hole) => tensors.push(placed(self.ids[hole.id], begin)),
                Piece::Source(range) => {
                    let range = range.start as u64..range.end as u64;
                    for (at, id) in kept.range(range.clone()) {
                        let tensor = placed(*id, begin + at - range.start);
                        if at + tensor.bytes() <= range.end {
                            tensors.push(tensor);
                        }
                    }
                }
                Piece::Bytes(_) => {}
            }
        }
        let (name, bytes) = (name.to_owned(), skeleton.bytes);
        PlannedFile { name, tensors, contents: Contents::Onnx(skeleton), bytes }
    }

    /// The outputs that stay where they are in the model's file, by their places in the source.
    fn kept_inline(&self) -> BTreeMap<u64, (usize, usize)> {
        let outputs = self.entries.iter().enumerate().filter_map(|(number, entry)| {
            let id = self.onnx.ids[entry.member.index];
            let Place::Inline(range) = &self.onnx.document.tensors[id].place else { return None };
            let output = entry.outputs.iter().position(|output| output.part == Part::Verbatim)?;
            let moved = self.edits.moved.contains_key(&id);
            (!moved && !range.is_empty()).then_some((range.start, (number, output)))
        });
        outputs.collect()
    }
}
