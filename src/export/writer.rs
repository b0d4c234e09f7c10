//! The weight files of an export, written chunk by chunk at their final places. What else is in them
//! is there from the start.

use std::fs::File;
use std::io;
use std::path::Path;

use super::ExportError;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::header;
use crate::engine::{EngineError, Sink};
use crate::onnx::{Piece, Skeleton};
use crate::plan::{Contents, Placed, Plan, PlannedFile};

/// Open weight files, at their full length, with their headers written.
#[derive(Debug)]
pub struct Writer {
    files: Vec<(String, File)>,
    /// File and offset of each output of each entry; `None` for one that is in the files already.
    places: Vec<Vec<Option<(usize, u64)>>>,
}

impl Writer {
    /// Creates the files of a plan in a folder.
    pub fn create(folder: &Path, plan: &Plan, source: &Checkpoint) -> Result<Self, ExportError> {
        let mut places: Vec<Vec<Option<(usize, u64)>>> =
            plan.entries.iter().map(|entry| vec![None; entry.outputs.len()]).collect();
        let mut files = Vec::new();
        for planned in &plan.files {
            let path = folder.join(&planned.name);
            let io_error = |source| ExportError::io("create", &planned.name, source);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(io_error)?;
            }
            let file = File::create_new(&path).map_err(io_error)?;
            file.set_len(planned.bytes).map_err(io_error)?;
            match &planned.contents {
                Contents::Safetensors(metadata) => {
                    let tensors = planned.tensors.iter().map(|t| t.described(&plan.entries));
                    let header = header::encode(tensors, metadata);
                    write_all_at(&file, &header, 0).map_err(io_error)?;
                }
                Contents::Onnx(skeleton) => {
                    write_model(&file, skeleton, planned, source).map_err(io_error)?;
                }
                Contents::Data => {}
            }

            let data_start = planned.data_start();
            for Placed { entry, output, begin, .. } in &planned.tensors {
                places[*entry][*output] = Some((files.len(), data_start + begin));
            }
            files.push((planned.name.clone(), file));
        }
        Ok(Self { files, places })
    }

    /// Waits until the disk has everything: only then may the folder get its name.
    pub fn finish(self) -> Result<(), ExportError> {
        for (name, file) in self.files {
            file.sync_all().map_err(|source| ExportError::io("write", name, source))?;
        }
        Ok(())
    }
}

impl Sink for Writer {
    fn write(
        &self,
        entry: usize,
        output: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let Some((file, start)) = self.places[entry][output] else { return Ok(()) };
        let (name, file) = &self.files[file];
        write_all_at(file, bytes, start + offset)
            .map_err(|source| EngineError::Write { name: name.clone(), source })
    }
}

/// Writes all of an ONNX model but what is to come: holes, and large tensors that are carried.
fn write_model(
    file: &File,
    skeleton: &Skeleton,
    planned: &PlannedFile,
    source: &Checkpoint,
) -> io::Result<()> {
    const LARGE_BYTES: u64 = 64 << 10;
    let Some(onnx) = &source.onnx else { return Ok(()) };
    let is_large = |tensor: &&Placed| tensor.bytes() >= LARGE_BYTES;
    for (begin, piece) in skeleton.placed() {
        match piece {
            Piece::Bytes(bytes) => write_all_at(file, bytes, begin)?,
            Piece::Hole(_) => {}
            Piece::Source(range) => {
                let end = begin + range.len() as u64;
                let from = |at: u64| range.start + (at - begin) as usize;
                let mut at = begin;
                let within = |tensor: &&Placed| (begin..end).contains(&tensor.begin);
                for tensor in planned.tensors.iter().filter(within).filter(is_large) {
                    let bytes = onnx.document.bytes(from(at)..from(tensor.begin));
                    write_all_at(file, bytes, at)?;
                    at = tensor.end;
                }
                write_all_at(file, onnx.document.bytes(from(at)..range.end), at)?;
            }
        }
    }
    Ok(())
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}
