//! The bytes of a model, read where they are asked for: a file may be larger than memory, and one that is
//! mapped ends the program if somebody shortens it.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use prost::bytes::Buf;

use super::OnnxProblem;

/// Bytes that are read at once. Nodes follow one another and are small; what is between is passed over.
const WINDOW_BYTES: usize = 16 << 10;

/// Bytes that a [`Cursor`] has of its own: more than a key and a length take.
const AHEAD_BYTES: usize = 64;

/// Bytes that can be read at any place.
pub trait ReadAt {
    /// How many there are.
    fn length(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = self.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        from.map(|from| buffer.copy_from_slice(from))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A model's bytes, with those around the place that was read last.
pub struct Source<'a> {
    file: &'a dyn ReadAt,
    window: RefCell<Window>,
}

/// Bytes of a file, from `begin` on.
#[derive(Default)]
struct Window {
    begin: usize,
    bytes: Vec<u8>,
}

impl<'a> Source<'a> {
    /// Nothing is read yet.
    pub fn new(file: &'a dyn ReadAt) -> Self {
        Self { file, window: RefCell::default() }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.file.length() as usize
    }

    /// The bytes at `range`, which is within the file.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, OnnxProblem> {
        let mut bytes = vec![0; range.len()];
        self.fill(&mut bytes, range.start)?;
        Ok(bytes)
    }

    fn fill(&self, buffer: &mut [u8], at: usize) -> Result<(), OnnxProblem> {
        let unreadable = |error: io::Error| OnnxProblem::Unreadable {
            at,
            kind: error.kind(),
            message: error.to_string(),
        };
        if buffer.len() > WINDOW_BYTES {
            return self.file.fill(buffer, at as u64).map_err(unreadable);
        }
        let mut window = self.window.borrow_mut();
        let is_there = window.begin <= at && at + buffer.len() <= window.begin + window.bytes.len();
        if !is_there {
            window.begin = at;
            window.bytes.resize(WINDOW_BYTES.min(self.len().saturating_sub(at)), 0);
            if let Err(error) = self.file.fill(&mut window.bytes, at as u64) {
                window.bytes.clear();
                return Err(unreadable(error));
            }
        }
        let from = &window.bytes[at - window.begin..][..buffer.len()];
        buffer.copy_from_slice(from);
        Ok(())
    }
}

/// A range of a source, decoded from its begin on. After a failure it has no more bytes.
pub struct Cursor<'a> {
    source: &'a Source<'a>,
    end: usize,
    /// Where `ahead` ends.
    at: usize,
    ahead: [u8; AHEAD_BYTES],
    /// The part of `ahead` that is still to come.
    rest: Range<usize>,
    failed: Option<OnnxProblem>,
}

impl<'a> Cursor<'a> {
    /// At the begin of `range`, which is within the file.
    pub fn new(source: &'a Source<'a>, range: Range<usize>) -> Self {
        let Range { start: at, end } = range;
        let ahead = [0; AHEAD_BYTES];
        let mut cursor = Self { source, end, at, ahead, rest: 0..0, failed: None };
        cursor.look_ahead();
        cursor
    }

    /// What could not be read, if anything.
    pub fn failure(&mut self) -> Option<OnnxProblem> {
        self.failed.take()
    }

    fn look_ahead(&mut self) {
        let length = AHEAD_BYTES.min(self.end - self.at);
        if length == 0 {
            self.rest = 0..0;
            return;
        }
        match self.source.fill(&mut self.ahead[..length], self.at) {
            Ok(()) => {
                self.at += length;
                self.rest = 0..length;
            }
            Err(problem) => {
                self.failed = Some(problem);
                self.at = self.end;
                self.rest = 0..0;
            }
        }
    }
}

impl Buf for Cursor<'_> {
    fn remaining(&self) -> usize {
        self.end - self.at + self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.ahead[self.rest.clone()]
    }

    fn advance(&mut self, count: usize) {
        if count < self.rest.len() {
            self.rest.start += count;
            return;
        }
        self.at = (self.at + (count - self.rest.len())).min(self.end);
        self.look_ahead();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that end before they should.
    struct Shortened<'a>(&'a [u8], usize);

    impl ReadAt for Shortened<'_> {
        fn length(&self) -> u64 {
            self.0.len() as u64
        }

        fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            (&self.0[..self.1]).fill(buffer, offset)
        }
    }

    fn bytes() -> Vec<u8> {
        (0..5 * WINDOW_BYTES).map(|i| (i / 7) as u8).collect()
    }

    #[test]
    fn what_is_read_is_what_is_there() {
        let bytes = bytes();
        let file = bytes.as_slice();
        let source = Source::new(&file);
        for range in [0..1, 5..5, 100..90_000 - 1, 16_000..17_000, 3..16_387, 81_919..81_920] {
            let range = range.start..range.end.min(bytes.len());
            assert_eq!(source.read(range.clone()).unwrap(), bytes[range]);
        }
        for step in [1, 3, 63, 64, 65, 1000, 40_000] {
            let mut cursor = Cursor::new(&source, 7..bytes.len() - 1);
            let mut at = 7;
            while cursor.has_remaining() {
                assert_eq!(cursor.remaining(), bytes.len() - 1 - at);
                assert!(!cursor.chunk().is_empty() && bytes[at..].starts_with(cursor.chunk()));
                let next = step.min(cursor.remaining());
                cursor.advance(next);
                at += next;
            }
            assert!(at == bytes.len() - 1 && cursor.failure().is_none());
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_where_it_ends() {
        let bytes = bytes();
        let file = Shortened(&bytes, 40_000);
        let source = Source::new(&file);
        assert!(source.read(0..10).is_ok());
        let problem = source.read(50_000..50_010).unwrap_err();
        let kind = io::ErrorKind::UnexpectedEof;
        assert!(
            matches!(problem, OnnxProblem::Unreadable { at: 50_000, kind: k, .. } if k == kind)
        );
        let mut cursor = Cursor::new(&source, 0..bytes.len());
        cursor.advance(60_000);
        assert_eq!(cursor.remaining(), 0);
        assert!(cursor.failure().is_some());
    }
}
