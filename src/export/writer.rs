//! The weight files of an export, written chunk by chunk at their final places.

use std::fs::File;
use std::io;
use std::path::Path;

use super::ExportError;
use crate::checkpoint::header;
use crate::engine::{EngineError, Sink};
use crate::plan::Plan;

/// Open weight files, at their full length, with their headers written.
#[derive(Debug)]
pub struct Writer {
    files: Vec<(String, File)>,
    /// File and offset of each output of each entry.
    places: Vec<Vec<(usize, u64)>>,
}

impl Writer {
    /// Creates the files of a plan in a folder.
    pub fn create(folder: &Path, plan: &Plan) -> Result<Self, ExportError> {
        let mut places: Vec<Vec<(usize, u64)>> =
            plan.entries.iter().map(|entry| vec![(0, 0); entry.outputs.len()]).collect();
        let mut files = Vec::new();
        for planned in &plan.files {
            let path = folder.join(&planned.name);
            let io_error = |source| ExportError::io("create", &planned.name, source);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(io_error)?;
            }
            let file = File::create_new(&path).map_err(io_error)?;
            file.set_len(planned.bytes()).map_err(io_error)?;
            write_all_at(&file, &header::encode(&planned.tensors), 0).map_err(io_error)?;

            for (tensor, &(entry, output)) in planned.tensors.iter().zip(&planned.outputs) {
                places[entry][output] = (files.len(), planned.header_bytes + tensor.begin);
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
        let (file, start) = self.places[entry][output];
        let (name, file) = &self.files[file];
        write_all_at(file, bytes, start + offset)
            .map_err(|source| EngineError::Write { name: name.clone(), source })
    }
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
