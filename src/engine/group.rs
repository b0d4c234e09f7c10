//! The global scale of a group: known once the largest magnitude of all its members is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::format::Nvfp4Tables;
use crate::format::nvfp4::{Rule, Scaling};
use crate::numeric::FloatKind;

/// What the jobs of one group share.
#[derive(Debug, Default)]
pub struct GroupScale {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    amax_jobs_left: usize,
    quantize_jobs_left: usize,
    amax: f32,
    abandoned: bool,
    /// One a kind of weights; made when first asked for, dropped with the last quantize job, so
    /// that memory does not grow with the number of groups.
    tables: Vec<Arc<Nvfp4Tables>>,
}

impl GroupScale {
    /// Notes one more amax job to wait for.
    pub fn expect_amax(&self) {
        self.lock().amax_jobs_left += 1;
    }

    /// Notes one more quantize job to keep tables for.
    pub fn expect_quantize(&self) {
        self.lock().quantize_jobs_left += 1;
    }

    /// Takes in the largest magnitude of one job.
    pub fn add_amax(&self, amax: f32) {
        let mut state = self.lock();
        state.amax = state.amax.max(amax);
        state.amax_jobs_left -= 1;
        self.changed.notify_all();
    }

    /// Ends one quantize job.
    pub fn end_quantize(&self) {
        let mut state = self.lock();
        state.quantize_jobs_left -= 1;
        if state.quantize_jobs_left == 0 {
            state.tables = Vec::new();
        }
    }

    /// Lets everybody who waits give up.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.changed.notify_all();
    }

    /// The tables for weights of `kind`, after waiting for the last amax; `None` if it never comes.
    pub fn tables(&self, kind: FloatKind) -> Option<Arc<Nvfp4Tables>> {
        let waiting = |state: &mut State| state.amax_jobs_left > 0 && !state.abandoned;
        let state = self.changed.wait_while(self.lock(), waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return None;
        }
        if let Some(tables) = state.tables.iter().find(|tables| tables.scaling.kind == kind) {
            return Some(Arc::clone(tables));
        }
        let tables = Arc::new(Nvfp4Tables::new(Scaling::new(Rule::Dynamic, kind, state.amax)));
        state.tables.push(Arc::clone(&tables));
        Some(tables)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
