//! What the weights of a group are quantized with: known once the largest magnitude of all its
//! members is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::dialect::Dialect;
use crate::format::nvfp4::{Rule, Scaling};
use crate::format::{Coder, Format, Nvfp4Tables, Quotient};
use crate::numeric::FloatKind;
use crate::plan::{Entry, Plan};

/// What weights of one type are quantized with.
#[derive(Debug, Clone)]
pub enum Encoder {
    /// NVFP4.
    Nvfp4(Arc<Nvfp4Tables>),
    /// A format with one level of scales.
    Grouped(Coder),
}

impl Encoder {
    /// For weights of `kind` of a tensor, or of a scale group, with this largest magnitude.
    pub fn new(format: Format, dialect: Dialect, kind: FloatKind, amax: f32) -> Self {
        match format.scheme(dialect.arithmetic()) {
            Some(scheme) => Self::Grouped(Coder::new(scheme, kind, amax)),
            None => {
                let rule = match dialect {
                    Dialect::Modelopt => Rule::Dynamic,
                    Dialect::CompressedTensors => Rule::CompressedTensors,
                };
                Self::Nvfp4(Arc::new(Nvfp4Tables::new(Scaling::new(rule, kind, amax))))
            }
        }
    }
}

/// What the jobs of one group share.
#[derive(Debug)]
pub struct SharedScale {
    format: Format,
    dialect: Dialect,
    quotient: Option<Quotient>,
    /// The type of all members; f32 if they are of several.
    kind: FloatKind,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    amax_jobs_left: usize,
    quantize_jobs_left: usize,
    amax: f32,
    abandoned: bool,
    /// One a type of weights; made when first asked for, dropped with the last quantize job, so
    /// that memory does not grow with the number of groups.
    tables: Vec<Arc<Nvfp4Tables>>,
}

impl SharedScale {
    /// For a group of a plan.
    pub fn new(plan: &Plan, group: &[usize]) -> Self {
        let members = || group.iter().map(|&i| &plan.entries[i]);
        let kinds = members().filter_map(|entry| entry.member.tensor.float_kind());
        let kind = kinds.reduce(|a, b| if a == b { a } else { FloatKind::F32 });
        Self {
            format: members().find_map(Entry::format).unwrap_or(Format::Nvfp4),
            dialect: plan.dialect,
            quotient: plan.quotient,
            kind: kind.unwrap_or(FloatKind::F32),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

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

    /// What weights of `kind` are quantized with, after waiting for the last amax; `None` if it never
    /// comes.
    pub fn encoder(&self, kind: FloatKind) -> Option<Encoder> {
        let waiting = |state: &mut State| state.amax_jobs_left > 0 && !state.abandoned;
        let state = self.changed.wait_while(self.lock(), waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return None;
        }
        if let Some(tables) = state.tables.iter().find(|tables| tables.scaling.kind == kind) {
            return Some(Encoder::Nvfp4(Arc::clone(tables)));
        }
        // The global scale is one for all members, whatever their types.
        let encoder = Encoder::new(self.format, self.dialect, self.kind, state.amax);
        Some(match encoder {
            Encoder::Nvfp4(shared) => {
                let scaling = Scaling { kind, ..shared.scaling };
                let tables = Arc::new(Nvfp4Tables::new(scaling));
                state.tables.push(Arc::clone(&tables));
                Encoder::Nvfp4(tables)
            }
            Encoder::Grouped(coder) => {
                let mut scheme = coder.scheme;
                scheme.quotient = self.quotient.unwrap_or(scheme.quotient);
                Encoder::Grouped(Coder::new(scheme, kind, state.amax))
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
