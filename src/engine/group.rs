//! The global scale of a group: known once the largest magnitude of all its members is.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::format::Nvfp4Tables;
use crate::format::nvfp4::global_scale;
use crate::numeric::FloatKind;

/// What the jobs of one group share.
#[derive(Debug, Default)]
pub struct GroupScale {
    state: Mutex<State>,
    changed: Condvar,
    tables: [OnceLock<Nvfp4Tables>; 3],
}

#[derive(Debug, Default)]
struct State {
    amax_jobs_left: usize,
    amax: f32,
    abandoned: bool,
}

impl GroupScale {
    /// Notes one more amax job to wait for.
    pub fn expect_job(&self) {
        self.lock().amax_jobs_left += 1;
    }

    /// Takes in the largest magnitude of one job.
    pub fn add_amax(&self, amax: f32) {
        let mut state = self.lock();
        state.amax = state.amax.max(amax);
        state.amax_jobs_left -= 1;
        self.changed.notify_all();
    }

    /// Lets everybody who waits give up.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.changed.notify_all();
    }

    /// The tables for weights of `kind`, after waiting for the last amax; `None` if it never comes.
    pub fn tables(&self, kind: FloatKind) -> Option<&Nvfp4Tables> {
        let waiting = |state: &mut State| state.amax_jobs_left > 0 && !state.abandoned;
        let state = self.changed.wait_while(self.lock(), waiting);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return None;
        }
        let amax = state.amax;
        drop(state);
        Some(self.tables[kind as usize].get_or_init(|| Nvfp4Tables::new(kind, global_scale(amax))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
