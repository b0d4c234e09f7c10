//! Has the disk take what is written while more is being computed, so that there is little to wait for
//! at the end.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that syncs files with enough new bytes in them.
#[derive(Debug)]
pub struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

#[derive(Debug)]
struct Shared {
    /// `None` for those that somebody else writes.
    files: Vec<(Option<Arc<File>>, AtomicU64)>,
    /// The first failure, and the number of its file: the system tells of each only once.
    failed: Mutex<Option<(usize, io::Error)>>,
}

/// New bytes of a file that are worth a request to the disk.
const WORTH_BYTES: u64 = 32 << 20;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(50);

impl Flusher {
    /// Starts for some files.
    pub fn start(files: impl Iterator<Item = Option<Arc<File>>>) -> Self {
        let files = files.map(|file| (file, AtomicU64::new(0))).collect();
        let shared = Arc::new(Shared { files, failed: Mutex::default() });
        let (stop, stopped) = channel();
        let own = Arc::clone(&shared);
        // Without a thread everything is left for the end.
        let thread = std::thread::Builder::new().name("flusher".to_owned()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                (0..own.files.len()).for_each(|file| own.flush(file, WORTH_BYTES));
            }
        });
        Self { shared, thread: thread.ok(), stop: Some(stop) }
    }

    /// Notes that so many bytes were written to a file.
    pub fn wrote(&self, file: usize, bytes: usize) {
        self.shared.files[file].1.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until the disk has everything. Fails with the number of the first file that it has not.
    pub fn finish(mut self) -> Result<(), (usize, io::Error)> {
        self.end();
        for (number, (file, _)) in self.shared.files.iter().enumerate() {
            self.shared.note(number, file.as_ref().map_or(Ok(()), |file| file.sync_all()));
        }
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        drop(self.stop.take());
        // A panic of the thread leaves its work to the end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn flush(&self, number: usize, worth: u64) {
        let (file, new) = &self.files[number];
        if new.load(Ordering::Relaxed) >= worth {
            new.store(0, Ordering::Relaxed);
            self.note(number, file.as_ref().map_or(Ok(()), |file| file.sync_data()));
        }
    }

    fn note(&self, number: usize, result: io::Result<()>) {
        if let Err(error) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert((number, error));
        }
    }
}

/// Work that failed is not waited for longer than a request to the disk takes.
impl Drop for Flusher {
    fn drop(&mut self) {
        self.end();
    }
}
