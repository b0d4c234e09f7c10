//! Work that may hang or panic, as that of a driver may.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Work that did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nothing was heard for too long.
    #[error("no answer within {} s: its driver hangs, or it is far too slow", .0.as_secs_f64())]
    Silent(Duration),
    /// It ended in a panic.
    #[error("it failed in a way that the program does not expect; its message is above")]
    Panicked,
    /// The system gives no thread.
    #[error("the system gives no thread to test it in")]
    NoThread,
}

/// Does work in a thread of its own, and gives what it tells, until nothing was told for so long. A thread
/// that hangs is left alone: nothing can end it.
pub fn watched<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(&mut dyn FnMut(T)) + Send + 'static,
) -> (Vec<T>, Option<Lost>) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        // Nobody listens any more once patience has ended.
        work(&mut |told| drop(sender.send(Some(told))));
        let _ = sender.send(None);
    });
    if thread.is_err() {
        return (Vec::new(), Some(Lost::NoThread));
    }
    let mut all = Vec::new();
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Some(told)) => all.push(told),
            Ok(None) => return (all, None),
            Err(RecvTimeoutError::Timeout) => return (all, Some(Lost::Silent(patience))),
            Err(RecvTimeoutError::Disconnected) => return (all, Some(Lost::Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn what_was_told_before_the_end_is_kept() {
        assert_eq!(watched(PATIENT, |tell| (0..3).for_each(tell)), (vec![0, 1, 2], None));
        let hangs = watched(SHORT, |tell| {
            tell(7);
            loop {
                thread::park();
            }
        });
        assert_eq!(hangs, (vec![7], Some(Lost::Silent(SHORT))));
        let panics = watched(PATIENT, |tell| {
            tell(8);
            panic!("as a driver may");
        });
        assert_eq!(panics, (vec![8], Some(Lost::Panicked)));
    }

    const PATIENT: Duration = Duration::from_secs(60);
}
