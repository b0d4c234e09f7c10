//! The weight files of an export, written chunk by chunk at their final places. What else is in them
//! is there from the start.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_64;

use super::flusher::Flusher;
use super::journal::{self, Journal};
use super::open_file::OpenFile;
use super::{ExportError, Part};
use crate::checkpoint::{Checkpoint, read_exact_at};
use crate::engine::{Done, EngineError, Piece, Sink};
use crate::plan::{Placed, Plan};

/// Open weight files, at their full length, with their headers written.
#[derive(Debug)]
pub struct Writer {
    /// By their numbers in the plan; `None` for those of other parts.
    files: Vec<Option<OpenFile>>,
    /// File and offset of each output of each entry; `None` for one that is in the files already.
    places: Vec<Vec<Option<(usize, u64)>>>,
    /// Whether an entry is of this part.
    own: Vec<bool>,
    pieces: Mutex<Vec<Piece>>,
    journal: Option<Journal>,
    flusher: Option<Flusher>,
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
        Self::open(folder, plan, source, sync, None)
    }

    /// Opens the files of a plan in a folder, or those of the part that the journal is of, and creates
    /// what is not there. What the journal tells of is not made again if it is there.
    pub fn open(
        folder: &Path,
        plan: &Plan,
        source: &Checkpoint,
        sync: bool,
        journal: Option<Journal>,
    ) -> Result<Self, ExportError> {
        let part = journal.as_ref().and_then(|journal| journal.header().identity.part);
        let part = part.unwrap_or(Part::WHOLE);
        let mut places: Vec<Vec<Option<(usize, u64)>>> =
            plan.entries.iter().map(|entry| vec![None; entry.outputs.len()]).collect();
        let (mut files, mut pieces) = (Vec::new(), Vec::new());
        for (planned, is_own) in plan.files.iter().zip(part.files(plan)) {
            let data_start = planned.data_start();
            for Placed { entry, output, begin, .. } in &planned.tensors {
                places[*entry][*output] = Some((files.len(), data_start + begin));
            }
            let number = files.len();
            let open = is_own.then(|| OpenFile::create(folder, number, planned)).transpose()?;
            if let Some(open) = &open {
                pieces.extend(open.write_contents(planned, plan, source)?);
            }
            files.push(open);
        }
        if let (Some(journal), false) = (&journal, pieces.is_empty()) {
            let done = Done { pieces: pieces.clone(), measured: None };
            journal
                .note(journal::CONTENTS, &done)
                .map_err(|source| ExportError::io("write", journal::NAME, source))?;
        }
        let handle = |open: &Option<OpenFile>| open.as_ref().map(|open| Arc::clone(&open.file));
        let flusher = sync.then(|| Flusher::start(files.iter().map(handle)));
        let own = part.entries(plan);
        Ok(Self { files, places, own, pieces: Mutex::new(pieces), journal, flusher })
    }

    /// Waits until the disk has everything, if it is to: only then may the folder get its name. Gives
    /// what was written, in the order of files and places.
    pub fn finish(self) -> Result<Vec<Piece>, ExportError> {
        if let Some(flusher) = self.flusher {
            flusher.finish().map_err(|(file, source)| {
                let open = self.files.get(file).and_then(Option::as_ref);
                ExportError::io("write", open.map_or("", |open| &open.name), source)
            })?;
        }
        if let Some(journal) = self.journal {
            journal.complete().map_err(|source| ExportError::io("write", journal::NAME, source))?;
        }
        let pieces = self.pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(in_order(pieces))
    }

    /// Whether a piece is still as it was written.
    fn is_there(&self, piece: &Piece) -> bool {
        let Some(Some(OpenFile { file, .. })) = self.files.get(piece.file) else { return false };
        let is_within = file.metadata().is_ok_and(|metadata| {
            piece.offset.checked_add(piece.bytes as u64).is_some_and(|end| end <= metadata.len())
        });
        let mut bytes = vec![0; if is_within { piece.bytes } else { 0 }];
        is_within
            && read_exact_at(file, &mut bytes, piece.offset).is_ok()
            && XxHash3_64::oneshot(&bytes) == piece.hash
    }

    fn keep(&self, pieces: &[Piece]) {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).extend(pieces);
    }
}

/// Pieces by files and places.
pub fn in_order(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_unstable_by_key(|piece| (piece.file, piece.offset));
    pieces
}

impl Sink for Writer {
    fn write(
        &self,
        entry: usize,
        output: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<Piece>, EngineError> {
        let Some((number, start)) = self.places[entry][output] else { return Ok(None) };
        let Some(open) = &self.files[number] else { return Ok(None) };
        let written = open.write(bytes, start + offset);
        let piece =
            written.map_err(|source| EngineError::Write { name: open.name.clone(), source })?;
        if let Some(flusher) = &self.flusher {
            flusher.wrote(number, bytes.len());
        }
        Ok(Some(piece))
    }

    fn wants(&self, entry: usize) -> bool {
        self.own[entry]
    }

    fn chunk_bytes(&self) -> Option<u64> {
        self.journal.as_ref().map(|journal| journal.header().chunk_bytes)
    }

    fn recall(&self, job: usize) -> Result<Option<Done>, EngineError> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let io_error = |source| EngineError::Write { name: journal::NAME.to_owned(), source };
        let done = journal.recall(job).map_err(io_error)?;
        let done = done.filter(|done| done.pieces.iter().all(|piece| self.is_there(piece)));
        if let Some(done) = &done {
            self.keep(&done.pieces);
        }
        Ok(done)
    }

    fn note(&self, job: usize, done: &Done) -> Result<(), EngineError> {
        self.keep(&done.pieces);
        let Some(journal) = &self.journal else { return Ok(()) };
        let io_error = |source| EngineError::Write { name: journal::NAME.to_owned(), source };
        journal.note(job, done).map_err(io_error)
    }
}
