//! Something that is made in the background, and made anew when something else is asked for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Notify, Task};

/// What was made for the last key, or is being made.
#[derive(Debug)]
pub struct Loaded<T> {
    made: Option<(u64, Result<Arc<T>, String>)>,
    making: Option<(u64, Task<Result<T, String>>)>,
    /// The key that was asked for last.
    wanted: u64,
}

/// What there is to show.
#[derive(Debug)]
pub enum Shown<T> {
    /// What was asked for.
    Ready(Arc<T>),
    /// It is being made; what was shown before, if that was of use.
    Working(Option<Arc<T>>),
    /// It cannot be made.
    Failed(String),
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { made: None, making: None, wanted: 0 }
    }
}

impl<T: Send + Sync + 'static> Loaded<T> {
    /// What a key stands for; begins to make it where it is not there. Never waits.
    pub fn get(
        &mut self,
        notify: &Notify,
        key: u64,
        make: impl FnOnce(&AtomicBool) -> Result<T, String> + Send + 'static,
    ) -> Shown<T> {
        self.wanted = key;
        if let Some((made, task)) = &self.making
            && let Some(result) = task.poll()
        {
            self.made = Some((*made, result.and_then(|made| made).map(Arc::new)));
            self.making = None;
        }
        match &self.made {
            Some((made, Ok(value))) if *made == key => return Shown::Ready(Arc::clone(value)),
            Some((made, Err(why))) if *made == key => return Shown::Failed(why.clone()),
            _ => {}
        }
        if self.making.as_ref().is_none_or(|(making, _)| *making != key) {
            // What is no longer wanted is told to stop by being dropped.
            let task = Task::start(notify, move |cancel| make(cancel));
            self.making = Some((key, task));
        }
        let before = self.made.as_ref().and_then(|(_, made)| made.as_ref().ok().cloned());
        Shown::Working(before)
    }

    /// What was asked for last, if it is there: never what was made for something else.
    pub fn ready(&self) -> Option<&T> {
        self.current().map(Arc::as_ref)
    }

    /// The same, to keep.
    pub fn shared(&self) -> Option<Arc<T>> {
        self.current().cloned()
    }

    /// Why what was asked for last cannot be made.
    pub fn failure(&self) -> Option<&str> {
        let made = self.made.as_ref().filter(|(made, _)| *made == self.wanted);
        made.and_then(|(_, made)| made.as_ref().err()).map(String::as_str)
    }

    fn current(&self) -> Option<&Arc<T>> {
        let made = self.made.as_ref().filter(|(made, _)| *made == self.wanted);
        made.and_then(|(_, made)| made.as_ref().ok())
    }

    /// Whether it is being made.
    pub fn is_busy(&self) -> bool {
        self.making.is_some()
    }
}

impl<T> Shown<T> {
    /// What is ready, or was shown before.
    pub fn any(&self) -> Option<&Arc<T>> {
        match self {
            Self::Ready(value) | Self::Working(Some(value)) => Some(value),
            Self::Working(None) | Self::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(loaded: &mut Loaded<u64>, key: u64) -> Shown<u64> {
        let notify: Notify = Arc::new(|| {});
        loop {
            let make =
                move |_: &AtomicBool| if key == 7 { Err("no 7".to_owned()) } else { Ok(key) };
            match loaded.get(&notify, key, make) {
                Shown::Working(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
                shown => return shown,
            }
        }
    }

    #[test]
    fn another_key_makes_another_value_and_what_was_shown_stays_until_then() {
        let mut loaded = Loaded::default();
        assert!(matches!(settled(&mut loaded, 3), Shown::Ready(value) if *value == 3));
        let notify: Notify = Arc::new(|| {});
        let shown = loaded.get(&notify, 4, |_| Ok(4));
        assert_eq!(shown.any().map(|value| **value), Some(3));
        assert_eq!(loaded.ready(), None, "3 is not what is asked for now");
        assert!(matches!(settled(&mut loaded, 4), Shown::Ready(value) if *value == 4));
        assert!(matches!(settled(&mut loaded, 7), Shown::Failed(why) if why == "no 7"));
        assert_eq!((loaded.failure(), loaded.ready()), (Some("no 7"), None));
        assert!(!loaded.is_busy());
    }
}
