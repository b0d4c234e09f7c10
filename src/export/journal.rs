//! What has been done of an export, kept beside its files, so that another run can go on with it.
//!
//! A file of frames: length and XXH3 of a record (little-endian), then the record. Frames are only added,
//! each after what it tells of was written; a run that ends in the middle of one leaves a last frame that
//! does not hold, which counts as not there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::identity::Identity;
use super::open_file::write_all_at;
use crate::checkpoint::read_exact_at;
use crate::engine::{Done, Measured, Piece};

/// What a journal is called in messages.
pub const NAME: &str = "the journal of the export";

/// The number under which that is noted which no job writes: what is in an ONNX model besides its tensors.
pub const CONTENTS: usize = usize::MAX;

/// The journal of one export, or of one part of it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    header: Header,
    /// Where the records of jobs are that are not recalled yet, by their numbers.
    jobs: Mutex<HashMap<usize, Frame>>,
    /// Where the next frame goes.
    end: Mutex<u64>,
    complete: bool,
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
struct Frame {
    offset: u64,
    bytes: usize,
    /// Bytes of output that the job wrote.
    written: u64,
}

/// What must be the same for an export to be gone on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// What is exported, and how.
    pub identity: Identity,
    /// Bytes of source that a job takes, if they follow one another: what its number means depends on it.
    pub chunk_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Header(Header),
    Job { number: usize, done: Done },
    Complete,
}

const FRAME_HEADER_BYTES: usize = 12;

impl Journal {
    /// Begins an empty one.
    pub fn create(file: File, header: Header) -> io::Result<Self> {
        file.set_len(0)?;
        let journal = Self {
            file,
            header: header.clone(),
            jobs: Mutex::default(),
            end: Mutex::new(0),
            complete: false,
        };
        journal.add(&Record::Header(header))?;
        Ok(journal)
    }

    /// Reads one as far as it holds; `None` if that is not even its beginning.
    pub fn open(file: File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let (mut end, mut header, mut complete) = (0, None, false);
        let mut jobs: HashMap<usize, Frame> = HashMap::new();
        (&file).rewind()?;
        let mut reader = BufReader::new(&file);
        let mut bytes = Vec::new();
        while let Some(record) = next(&mut reader, length - end, &mut bytes)? {
            let offset = end + FRAME_HEADER_BYTES as u64;
            let mut frame = Frame { offset, bytes: bytes.len(), written: 0 };
            match record {
                Record::Header(found) => header = Some(found),
                Record::Job { number, done } => {
                    frame.written = done.pieces.iter().map(|piece| piece.bytes as u64).sum();
                    jobs.insert(number, frame);
                }
                Record::Complete => complete = true,
            }
            end = frame.offset + bytes.len() as u64;
        }
        let Some(header) = header else { return Ok(None) };
        // What does not hold must not be taken for something once there is more behind it.
        file.set_len(end)?;
        let (jobs, end) = (Mutex::new(jobs), Mutex::new(end));
        Ok(Some(Self { file, header, jobs, end, complete }))
    }

    /// What it is the journal of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes that were written by jobs that are not recalled yet.
    pub fn written_bytes(&self) -> u64 {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().map(|frame| frame.written).sum()
    }

    /// Whether every job is done.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What a job did, the first time that it is asked for.
    pub fn recall(&self, number: usize) -> io::Result<Option<Done>> {
        let frame = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let Some(Frame { offset, bytes, .. }) = frame else { return Ok(None) };
        let mut record = vec![0; bytes];
        read_exact_at(&self.file, &mut record, offset)?;
        match postcard::from_bytes(&record) {
            Ok(Record::Job { done, .. }) => Ok(Some(done)),
            _ => Ok(None),
        }
    }

    /// All that was written and measured, of whatever was not recalled yet.
    pub fn take_all(&self) -> io::Result<(Vec<Piece>, Vec<Measured>)> {
        let numbers: Vec<usize> = {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.keys().copied().collect()
        };
        let (mut pieces, mut measured) = (Vec::new(), Vec::new());
        for number in numbers {
            if let Some(done) = self.recall(number)? {
                pieces.extend(done.pieces);
                measured.extend(done.measured);
            }
        }
        Ok((pieces, measured))
    }

    /// Notes that a job is done.
    pub fn note(&self, number: usize, done: &Done) -> io::Result<()> {
        self.add(&Record::Job { number, done: done.clone() })
    }

    /// Notes that all are.
    pub fn complete(&self) -> io::Result<()> {
        self.add(&Record::Complete)?;
        self.file.sync_data()
    }

    fn add(&self, record: &Record) -> io::Result<()> {
        let record = postcard::to_stdvec(record).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + record.len());
        frame.extend((record.len() as u32).to_le_bytes());
        frame.extend(XxHash3_64::oneshot(&record).to_le_bytes());
        frame.extend(record);
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        write_all_at(&self.file, &frame, *end)?;
        *end += frame.len() as u64;
        Ok(())
    }
}

/// The next record, and its bytes; `None` where there is none that holds.
fn next(reader: &mut impl Read, left: u64, bytes: &mut Vec<u8>) -> io::Result<Option<Record>> {
    let mut header = [0; FRAME_HEADER_BYTES];
    match reader.read_exact(&mut header) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (length, hash) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
    if u64::from(length) > left {
        return Ok(None);
    }
    bytes.resize(length as usize, 0);
    match reader.read_exact(bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let holds = XxHash3_64::oneshot(bytes).to_le_bytes() == hash;
    Ok(holds.then(|| postcard::from_bytes(bytes).ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(entry: usize, amax: f32) -> Done {
        let stats = crate::stats::TensorStats { amax, ..Default::default() };
        let piece = Piece { file: 0, offset: 10 * entry as u64, bytes: 10, hash: u64::MAX - 3 };
        let measured = Some(Measured { entry, chunk: 1, expert: None, stats });
        Done { pieces: vec![piece], measured }
    }

    fn journal(file: &File) -> Journal {
        let header = Header { identity: Identity::default(), chunk_bytes: 1 << 20 };
        let journal = Journal::create(file.try_clone().unwrap(), header).unwrap();
        for (number, amax) in [(3, f32::NAN), (5, 0.1)] {
            journal.note(number, &done(number, amax)).unwrap();
        }
        journal
    }

    #[test]
    fn what_was_noted_is_recalled_once_and_to_the_bit() {
        let file = tempfile::tempfile().unwrap();
        journal(&file).complete().unwrap();
        let opened = Journal::open(file.try_clone().unwrap()).unwrap().unwrap();
        assert!(opened.is_complete());
        assert_eq!(opened.header().chunk_bytes, 1 << 20);
        let amax = |done: Option<Done>| done.unwrap().measured.unwrap().stats.amax;
        assert!(amax(opened.recall(3).unwrap()).is_nan());
        assert_eq!(opened.recall(5).unwrap(), Some(done(5, 0.1)));
        assert_eq!(opened.recall(5).unwrap(), None);
        assert_eq!(opened.recall(4).unwrap(), None);
    }

    #[test]
    fn a_journal_cut_or_damaged_anywhere_holds_until_there_and_is_written_on_from_there() {
        let file = tempfile::tempfile().unwrap();
        let whole = journal(&file);
        let (first, last) = (whole.jobs.lock().unwrap().len(), *whole.end.lock().unwrap());
        assert_eq!(first, 0, "only what is read is recalled");
        let mut bytes = vec![0; last as usize];
        read_exact_at(&file, &mut bytes, 0).unwrap();
        let mut known = Vec::new();
        for cut in 0..=bytes.len() {
            for damaged in [false, true] {
                let file = tempfile::tempfile().unwrap();
                let mut left = bytes[..if damaged { bytes.len() } else { cut }].to_vec();
                if damaged && cut < bytes.len() {
                    left[cut] ^= 0x40;
                }
                write_all_at(&file, &left, 0).unwrap();
                let Some(opened) = Journal::open(file.try_clone().unwrap()).unwrap() else {
                    known.push(None);
                    continue;
                };
                let jobs = opened.jobs.lock().unwrap().len();
                known.push(Some(jobs));
                opened.note(9, &done(9, 1.0)).unwrap();
                let again = Journal::open(file).unwrap().unwrap();
                assert_eq!(again.jobs.lock().unwrap().len(), jobs + 1);
                assert_eq!(again.recall(9).unwrap(), Some(done(9, 1.0)));
            }
        }
        known.sort_unstable();
        known.dedup();
        assert_eq!(known, [None, Some(0), Some(1), Some(2)]);
    }
}
