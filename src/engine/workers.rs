//! Threads that take numbered jobs in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use super::chunk::ChunkBuffer;
use super::{EngineError, Resources};

/// Does jobs 0 to `count` on several threads, each with a buffer of its own, and gives the error of
/// the earliest job that failed. Once a job fails or the user stops the work no job is begun, and
/// `give_up` is called, so that jobs that wait for others can end.
pub fn in_order(
    resources: &Resources<'_>,
    count: usize,
    job: impl Fn(usize, &mut ChunkBuffer) -> Result<(), EngineError> + Sync,
    give_up: impl Fn() + Sync,
) -> Result<(), EngineError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let failure: Mutex<Option<(usize, EngineError)>> = Mutex::default();
    let cancelled = || resources.cancel.load(Ordering::Relaxed);
    let stopping = || failed.load(Ordering::Relaxed) || cancelled();

    let work = || {
        let _release = OnDrop(|| {
            if std::thread::panicking() {
                failed.store(true, Ordering::Relaxed);
            }
            // A worker that merely has nothing left to do leaves the others alone.
            if stopping() {
                give_up();
            }
        });
        let mut buffer = ChunkBuffer::default();
        while !stopping() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if let Err(error) = job(number, &mut buffer) {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                if failure.as_ref().is_none_or(|(earliest, _)| number < *earliest) {
                    *failure = Some((number, error));
                }
                failed.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..resources.workers.clamp(1, count.max(1)) {
            // Where the system allows no more threads, those that there are do it all.
            let _ = Builder::new().spawn_scoped(scope, work);
        }
        work();
    });

    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None if cancelled() => Err(EngineError::Cancelled),
        None => Ok(()),
    }
}

/// Calls a function however its scope is left, a panic included: nobody shall wait for ever.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;
    use crate::engine::Progress;
    use std::io;

    struct NoProgress;

    impl Progress for NoProgress {
        fn add(&self, _: u64) {}
    }

    fn error(name: &str) -> EngineError {
        EngineError::Write { name: name.to_owned(), source: io::Error::other("no") }
    }

    fn resources(workers: usize, cancel: &AtomicBool) -> Resources<'_> {
        Resources { backend: &Cpu, workers, progress: &NoProgress, cancel }
    }

    #[test]
    fn every_job_is_done_once() {
        let done: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        let job = |i: usize, _: &mut ChunkBuffer| {
            done[i].fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        in_order(&resources(3, &AtomicBool::new(false)), 100, job, || {}).unwrap();
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn the_earliest_failure_is_reported_and_waiters_are_released() {
        let given_up = AtomicBool::new(false);
        let job = |i: usize, _: &mut ChunkBuffer| {
            if i >= 5 { Err(error(&i.to_string())) } else { Ok(()) }
        };
        let give_up = || given_up.store(true, Ordering::Relaxed);
        let result = in_order(&resources(1, &AtomicBool::new(false)), 100, job, give_up);
        assert!(result.unwrap_err().to_string().contains("cannot write 5:"));
        assert!(given_up.into_inner());
    }

    #[test]
    fn cancelling_is_an_error_of_its_own() {
        let result = in_order(&resources(2, &AtomicBool::new(true)), 5, |_, _| Ok(()), || {});
        assert!(matches!(result, Err(EngineError::Cancelled)));
    }
}
