//! Work in the background: no frame of the window waits for anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// Called from any thread when there is something new to show.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// One piece of work in a thread of its own. Dropped, it is told to stop, and its result is lost.
#[derive(Debug)]
pub struct Task<T> {
    result: Receiver<Result<T, String>>,
    cancel: Arc<AtomicBool>,
}

impl<T: Send + 'static> Task<T> {
    /// Begins. `work` is given a flag that says when it is no longer wanted.
    pub fn start(
        notify: &Notify,
        work: impl FnOnce(&Arc<AtomicBool>) -> T + Send + 'static,
    ) -> Self {
        let (sender, result) = channel();
        let cancel = Arc::new(AtomicBool::new(false));
        let (flag, notify) = (Arc::clone(&cancel), Arc::clone(notify));
        std::thread::spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| work(&flag)));
            // Nobody listens to what was cancelled.
            let _ = sender.send(done.map_err(|panic| broke_off(panic.as_ref())));
            notify();
        });
        Self { result, cancel }
    }

    /// The result, once, when it is there; an error if the work broke off.
    pub fn poll(&self) -> Option<Result<T, String>> {
        self.result.try_recv().ok()
    }
}

impl<T> Task<T> {
    /// Asks the work to stop; its result says whether it did.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// What to tell a user of a panic.
pub fn broke_off(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    format!("the work broke off because of a mistake in this program: {text}. Please report it")
}

/// Takes the result of a task that has one, and the task with it.
pub fn take<T: Send + 'static>(task: &mut Option<Task<T>>) -> Option<Result<T, String>> {
    let done = task.as_ref()?.poll()?;
    *task = None;
    Some(done)
}

/// Frees what is no longer needed: a hundred thousand names take longer than a frame.
pub fn discard<T: Send + 'static>(value: T) {
    std::thread::spawn(move || drop(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn wait<T: Send + 'static>(task: &Task<T>) -> Result<T, String> {
        loop {
            match task.poll() {
                Some(done) => return done,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn a_panic_becomes_a_message() {
        let notify: Notify = Arc::new(|| {});
        let task = Task::<()>::start(&notify, |_| panic!("block {} is missing", 7));
        let message = wait(&task).unwrap_err();
        assert!(message.contains("block 7 is missing"), "{message}");
        assert_eq!(wait(&Task::start(&notify, |_| 5)), Ok(5));
    }

    #[test]
    fn dropping_a_task_stops_its_work() {
        let notify: Notify = Arc::new(|| {});
        let (sender, receiver) = channel();
        let task = Task::start(&notify, move |cancel| {
            while !cancel.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            sender.send(()).unwrap();
        });
        drop(task);
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
