//! The weight files of an export, written chunk by chunk at their final places. What else is in them
//! is there from the start.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_64;

use super::ExportError;
use super::flusher::Flusher;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::header;
use crate::engine::{EngineError, Sink};
use crate::onnx::{Piece as ModelPiece, Skeleton};
use crate::plan::{Contents, Placed, Plan, PlannedFile};

/// Open weight files, at their full length, with their headers written.
#[derive(Debug)]
pub struct Writer {
    files: Vec<OpenFile>,
    /// File and offset of each output of each entry; `None` for one that is in the files already.
    places: Vec<Vec<Option<(usize, u64)>>>,
    pieces: Mutex<Vec<Piece>>,
    flusher: Option<Flusher>,
}

/// A weight file that is being written.
#[derive(Debug)]
struct OpenFile {
    name: String,
    file: Arc<File>,
    /// Systems let one thread at a time write to a file; those that wait here do not spin meanwhile.
    turn: Mutex<()>,
}

/// A piece of a weight file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its file, as a number among those of the plan.
    pub file: usize,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: usize,
    /// XXH3 of the bytes.
    pub hash: u64,
}

impl Writer {
    /// Creates the files of a plan in a folder. With `sync` the disk gets what is written from the start,
    /// and [`Self::finish`] waits for it.
    pub fn create(
        folder: &Path,
        plan: &Plan,
        source: &Checkpoint,
        sync: bool,
    ) -> Result<Self, ExportError> {
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
                    write_model(&file, skeleton, planned, source)?;
                }
                Contents::Data => {}
            }

            let data_start = planned.data_start();
            for Placed { entry, output, begin, .. } in &planned.tensors {
                places[*entry][*output] = Some((files.len(), data_start + begin));
            }
            let (name, file) = (planned.name.clone(), Arc::new(file));
            files.push(OpenFile { name, file, turn: Mutex::default() });
        }
        let flusher = sync.then(|| Flusher::start(files.iter().map(|open| Arc::clone(&open.file))));
        Ok(Self { files, places, pieces: Mutex::default(), flusher })
    }

    /// Waits until the disk has everything, if it is to: only then may the folder get its name. Gives
    /// what was written, in the order of files and places.
    pub fn finish(self) -> Result<Vec<Piece>, ExportError> {
        if let Some(flusher) = self.flusher {
            flusher.finish().map_err(|(file, source)| {
                let name = self.files.get(file).map_or("", |open| &open.name);
                ExportError::io("write", name, source)
            })?;
        }
        let mut pieces = self.pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
        pieces.sort_unstable_by_key(|piece| (piece.file, piece.offset));
        Ok(pieces)
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
        let Some((number, start)) = self.places[entry][output] else { return Ok(()) };
        let OpenFile { name, file, turn } = &self.files[number];
        let offset = start + offset;
        let written = {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            write_all_at(file, bytes, offset)
        };
        written.map_err(|source| EngineError::Write { name: name.clone(), source })?;
        if let Some(flusher) = &self.flusher {
            flusher.wrote(number, bytes.len());
        }
        let piece =
            Piece { file: number, offset, bytes: bytes.len(), hash: XxHash3_64::oneshot(bytes) };
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
        Ok(())
    }
}

/// Writes all of an ONNX model but what is to come: holes, and large tensors that are carried.
fn write_model(
    file: &File,
    skeleton: &Skeleton,
    planned: &PlannedFile,
    source: &Checkpoint,
) -> Result<(), ExportError> {
    const LARGE_BYTES: u64 = 64 << 10;
    const COPY_BYTES: usize = 1 << 20;
    let Some(model) = source.files.first() else { return Ok(()) };
    let io_error = |source| ExportError::io("create", &planned.name, source);
    let copy = |range: Range<usize>, at: u64| {
        // In turns, since all that is between large tensors may be large too.
        let mut buffer = vec![0; range.len().min(COPY_BYTES)];
        for begin in range.clone().step_by(COPY_BYTES) {
            let part = &mut buffer[..(range.end - begin).min(COPY_BYTES)];
            model.read_at(part, begin as u64)?;
            write_all_at(file, part, at + (begin - range.start) as u64).map_err(io_error)?;
        }
        Ok::<_, ExportError>(())
    };
    let is_large = |tensor: &&Placed| tensor.bytes() >= LARGE_BYTES;
    for (begin, piece) in skeleton.placed() {
        match piece {
            ModelPiece::Bytes(bytes) => write_all_at(file, bytes, begin).map_err(io_error)?,
            ModelPiece::Hole(_) => {}
            ModelPiece::Source(range) => {
                let end = begin + range.len() as u64;
                let from = |at: u64| range.start + (at - begin) as usize;
                let mut at = begin;
                let within = |tensor: &&Placed| (begin..end).contains(&tensor.begin);
                for tensor in planned.tensors.iter().filter(within).filter(is_large) {
                    copy(from(at)..from(tensor.begin), at)?;
                    at = tensor.end;
                }
                copy(from(at)..range.end, at)?;
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
