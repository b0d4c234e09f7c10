//! A weight file that is being written: at its full length from the start, with all in it that is no tensor.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_64;

use super::ExportError;
use crate::checkpoint::{Checkpoint, TensorFile, header};
use crate::engine::{Piece, steps};
use crate::onnx::{Piece as ModelPiece, Skeleton};
use crate::plan::{Contents, Plan, PlannedFile};

/// Bytes of a model that are copied at once.
const COPY_BYTES: u64 = 1 << 20;

/// A weight file that is being written.
#[derive(Debug)]
pub struct OpenFile {
    /// Its number in the plan.
    number: usize,
    /// Its name in the plan.
    pub name: String,
    /// Open to be read and written.
    pub file: Arc<File>,
    /// Systems let one thread at a time write to a file; those that wait here do not spin meanwhile.
    turn: Mutex<()>,
}

impl OpenFile {
    /// Opens a planned file at its full length.
    pub fn create(
        folder: &Path,
        number: usize,
        planned: &PlannedFile,
    ) -> Result<Self, ExportError> {
        let name = planned.name.clone();
        let create = || {
            let path = folder.join(&name);
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
            file.set_len(planned.bytes)?;
            Ok(file)
        };
        let file = create().map_err(|source| ExportError::io("create", &name, source))?;
        Ok(Self { number, name, file: Arc::new(file), turn: Mutex::default() })
    }

    /// Writes all that no job does. Gives what it wrote, but for the header of a safetensors file.
    pub fn write_contents(
        &self,
        planned: &PlannedFile,
        plan: &Plan,
        source: &Checkpoint,
    ) -> Result<Vec<Piece>, ExportError> {
        match &planned.contents {
            Contents::Safetensors(metadata) => {
                let tensors = planned.tensors.iter().map(|t| t.described(&plan.entries));
                let header = header::encode(tensors, metadata);
                self.write_content(&header, 0)?;
                Ok(Vec::new())
            }
            Contents::Onnx(skeleton) => self.write_model(skeleton, planned, source),
            Contents::Data => Ok(Vec::new()),
        }
    }

    /// Writes all of an ONNX model but its tensors.
    fn write_model(
        &self,
        skeleton: &Skeleton,
        planned: &PlannedFile,
        source: &Checkpoint,
    ) -> Result<Vec<Piece>, ExportError> {
        let Some(model) = source.files.first() else { return Ok(Vec::new()) };
        let mut written = Vec::new();
        // In the order of their places.
        let mut tensors = planned.tensors.iter().peekable();
        for (begin, piece) in skeleton.placed() {
            match piece {
                ModelPiece::Bytes(bytes) => written.push(self.write_content(bytes, begin)?),
                ModelPiece::Hole(_) => drop(tensors.next()),
                ModelPiece::Source(range) => {
                    let end = begin + range.len() as u64;
                    let from = |at: u64| range.start as u64 + (at - begin);
                    let mut at = begin;
                    while let Some(tensor) = tensors.next_if(|tensor| tensor.begin < end) {
                        written.extend(self.copy(model, from(at)..from(tensor.begin), at)?);
                        at = tensor.end;
                    }
                    written.extend(self.copy(model, from(at)..from(end), at)?);
                }
            }
        }
        Ok(written)
    }

    /// Copies bytes of a model, in turns: all that is between tensors may be large too.
    fn copy(
        &self,
        model: &TensorFile,
        range: Range<u64>,
        at: u64,
    ) -> Result<Vec<Piece>, ExportError> {
        let copy = |part: Range<u64>| {
            let mut buffer = vec![0; (part.end - part.start) as usize];
            model.read_at(&mut buffer, range.start + part.start)?;
            self.write_content(&buffer, at + part.start)
        };
        steps(range.end - range.start, COPY_BYTES).map(copy).collect()
    }

    fn write_content(&self, bytes: &[u8], offset: u64) -> Result<Piece, ExportError> {
        self.write(bytes, offset).map_err(|source| ExportError::io("write", &self.name, source))
    }

    /// Writes a piece from `offset` on.
    pub fn write(&self, bytes: &[u8], offset: u64) -> io::Result<Piece> {
        {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            write_all_at(&self.file, bytes, offset)?;
        }
        let hash = XxHash3_64::oneshot(bytes);
        Ok(Piece { file: self.number, offset, bytes: bytes.len(), hash })
    }
}

/// Writes bytes into a file from `offset` on.
#[cfg(unix)]
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes bytes into a file from `offset` on.
#[cfg(windows)]
pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
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
