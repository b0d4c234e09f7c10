//! A file of tensors that is open: its structure known, its data read on demand.

use std::fs::{File, Metadata as FileMetadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use prost::bytes::Bytes;

use super::error::CheckpointError;
use super::header::{self, HeaderEntry, LENGTH_BYTES, Metadata};
use super::locate::{folder_of, lies_within};
use crate::onnx::ReadAt;

/// An open file of tensors. Reads are positioned, so threads share it.
#[derive(Debug)]
pub struct TensorFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name inside the checkpoint's folder.
    pub name: String,
    /// Length of the whole file.
    pub file_bytes: u64,
    /// Length of the header with its length field: where the data start. 0 in a file whose tensors
    /// have places of their own.
    pub data_start: u64,
    /// What its header says besides tensors.
    pub metadata: Arc<Metadata>,
    /// When it was last written to before it was opened, where the system says.
    pub(super) modified: Option<SystemTime>,
    data: Data,
}

/// Where data are.
#[derive(Debug)]
enum Data {
    File(File),
    /// Made from what a file says in another form.
    Memory(Bytes),
}

impl TensorFile {
    /// Opens a file and reads its header, not its data.
    pub fn open(path: &Path, name: &str) -> Result<(Self, Vec<HeaderEntry>), CheckpointError> {
        let io_error = |source| CheckpointError::Io { path: path.to_owned(), source };
        let header_error = |problem| CheckpointError::Header { file: path.to_owned(), problem };

        let handle = open_regular(path).map_err(io_error)?;
        let found = handle.metadata().map_err(io_error)?;
        let (file_bytes, modified) = (found.len(), written_at(&found));
        let mut first = vec![0; LENGTH_BYTES.min(file_bytes) as usize];
        read_exact_at(&handle, &mut first, 0).map_err(io_error)?;
        let header_bytes = header::header_bytes(&first, file_bytes).map_err(header_error)?;

        let mut json = vec![0; header_bytes as usize];
        read_exact_at(&handle, &mut json, LENGTH_BYTES).map_err(io_error)?;
        let data_start = LENGTH_BYTES + header_bytes;
        let (entries, metadata) =
            header::parse(&json, file_bytes - data_start).map_err(header_error)?;

        let (path, name, data) = (path.to_owned(), name.to_owned(), Data::File(handle));
        let metadata = Arc::new(metadata);
        Ok((Self { path, name, file_bytes, data_start, metadata, modified, data }, entries))
    }

    /// Opens a file whose tensors are found otherwise.
    pub fn plain(path: &Path, name: &str) -> Result<Self, CheckpointError> {
        let io_error = |source| CheckpointError::Io { path: path.to_owned(), source };
        let handle = open_regular(path).map_err(io_error)?;
        let found = handle.metadata().map_err(io_error)?;
        let (file_bytes, modified) = (found.len(), written_at(&found));
        let (path, name, data) = (path.to_owned(), name.to_owned(), Data::File(handle));
        let metadata = Arc::default();
        Ok(Self { path, name, file_bytes, data_start: 0, metadata, modified, data })
    }

    /// Data that are in memory, and whose bytes no file has in this form.
    pub fn memory(path: &Path, bytes: Bytes) -> Self {
        let (path, name, data) = (path.to_owned(), String::new(), Data::Memory(bytes));
        let metadata = Arc::default();
        Self { path, name, file_bytes: 0, data_start: 0, metadata, modified: None, data }
    }

    /// Fills `buffer` from `offset` of the data.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), CheckpointError> {
        self.fill(buffer, self.data_start + offset).map_err(|error| self.read_error(error))
    }

    /// The error of a read: a file that ends too early was longer when it was opened.
    pub(super) fn read_error(&self, source: io::Error) -> CheckpointError {
        let ended = source.kind() == io::ErrorKind::UnexpectedEof;
        let changed = self.check_unchanged().err().filter(|_| ended);
        changed.unwrap_or_else(|| CheckpointError::Io { path: self.path.clone(), source })
    }

    /// Fails if the file has another length than when it was opened, or was written to since.
    pub fn check_unchanged(&self) -> Result<(), CheckpointError> {
        if let Data::Memory(_) = &self.data {
            return Ok(());
        }
        let path = self.path.clone();
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => found,
            Err(source) => return Err(CheckpointError::Io { path, source }),
        };
        match (found.len(), written_at(&found)) == (self.file_bytes, self.modified) {
            true => Ok(()),
            false => {
                let (before, now) = (self.file_bytes, found.len());
                Err(CheckpointError::Changed { path, before, now })
            }
        }
    }
}

impl ReadAt for TensorFile {
    fn length(&self) -> u64 {
        self.file_bytes
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.data {
            Data::File(handle) => read_exact_at(handle, buffer, offset),
            Data::Memory(bytes) => ReadAt::fill(&bytes.as_ref(), buffer, offset),
        }
    }
}

fn written_at(found: &FileMetadata) -> Option<SystemTime> {
    found.modified().ok()
}

/// Longest config or index that is read.
const MAX_TEXT_BYTES: u64 = 100_000_000;

/// Reads a text file that describes a checkpoint. What it says may be carried, so a link that leads out of
/// the folder is refused: a checkpoint from elsewhere must not publish what else is on the disk.
pub fn read_small_file(path: &Path) -> io::Result<String> {
    let file = open_regular(path)?;
    if !lies_within(folder_of(path), path) {
        return Err(io::Error::other("it is a link out of the checkpoint's folder"));
    }
    let bytes = file.metadata()?.len();
    if bytes > MAX_TEXT_BYTES {
        let message = format!("{bytes} bytes are too many for it, {MAX_TEXT_BYTES} is the limit");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut text = String::new();
    // It may grow meanwhile.
    file.take(MAX_TEXT_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a file to be read. Opening a pipe would wait for somebody who writes to it, and some devices have
/// no end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    match kind.is_file() || kind.is_dir() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Fills `buffer` with the bytes of a file from `offset` on.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` with the bytes of a file from `offset` on.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}
