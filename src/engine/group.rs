//! What the weights of a group are quantized with: known once the largest magnitude of all its
//! members is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::dialect::Dialect;
use crate::format::nvfp4::Scaling;
use crate::format::nvfp4_search::Search;
use crate::format::{Coder, Format, Nvfp4Tables, Quotient, ScaleDtype, ScaleSearch, torchao};
use crate::numeric::FloatKind;
use crate::plan::{Entry, Plan};

/// How weights are quantized, whatever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// To this format.
    pub format: Format,
    /// In this dialect's arithmetic.
    pub dialect: Dialect,
    /// With scales that are found so.
    pub search: ScaleSearch,
    /// With quotients that are rounded so, if not as the arithmetic says.
    pub quotient: Option<Quotient>,
    /// With scales that are stored in this type.
    pub scale_dtype: ScaleDtype,
}

impl Method {
    /// As a plan quantizes to a format.
    pub fn of(plan: &Plan, format: Format) -> Self {
        let (dialect, quotient, scale_dtype) = (plan.dialect, plan.quotient, plan.scale_dtype);
        Self { format, dialect, search: plan.search_for(format), quotient, scale_dtype }
    }
}

/// What weights of one type are quantized with.
#[derive(Debug, Clone)]
pub enum Encoder {
    /// NVFP4.
    Nvfp4(Arc<Nvfp4Encoder>),
    /// A format with one level of scales.
    Grouped(Coder),
}

/// What NVFP4 is quantized with.
#[derive(Debug, Clone)]
pub struct Nvfp4Encoder {
    /// The tables.
    pub tables: Nvfp4Tables,
    /// Where scales are searched for: the tables without that, to tell what it gains.
    pub unsearched: Option<Nvfp4Tables>,
}

impl Encoder {
    /// For weights of `kind` of a tensor, or of a scale group whose members are of `group_kind`, with
    /// this largest magnitude.
    pub fn new(method: Method, group_kind: FloatKind, kind: FloatKind, amax: f32) -> Self {
        match method.format.scheme(method.dialect.arithmetic()) {
            Some(scheme) => {
                let mut scheme = method.scale_dtype.applied_to(scheme);
                scheme.quotient = method.quotient.unwrap_or(scheme.quotient);
                if method.search == ScaleSearch::NoClipping {
                    scheme = torchao::without_clipping(scheme);
                }
                scheme.search = method.search;
                Self::Grouped(Coder::new(scheme, kind, amax))
            }
            None => {
                let rule = method.dialect.nvfp4_rule();
                // The global scale is one for all members, whatever their types.
                let scaling = Scaling { kind, ..Scaling::new(rule, group_kind, amax) };
                let plain = Nvfp4Tables::new(scaling);
                let search = Search::new(method.search, rule, group_kind, amax);
                Self::Nvfp4(Arc::new(match search {
                    None => Nvfp4Encoder { tables: plain, unsearched: None },
                    Some(mut search) => {
                        search.scaling.kind = kind;
                        let tables = Nvfp4Tables::searching(search);
                        Nvfp4Encoder { tables, unsearched: Some(plain) }
                    }
                }))
            }
        }
    }
}

/// What the jobs of one group share.
#[derive(Debug)]
pub struct SharedScale {
    method: Method,
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
    encoders: Vec<(FloatKind, Encoder)>,
}

impl SharedScale {
    /// For a group of a plan.
    pub fn new(plan: &Plan, group: &[usize]) -> Self {
        let members = || group.iter().map(|&i| &plan.entries[i]);
        let kinds = members().filter_map(|entry| entry.member.tensor.float_kind());
        let kind = kinds.reduce(|a, b| if a == b { a } else { FloatKind::F32 });
        let format = members().find_map(Entry::format).unwrap_or(Format::Nvfp4);
        Self {
            method: Method::of(plan, format),
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
            state.encoders = Vec::new();
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
        if let Some((_, encoder)) = state.encoders.iter().find(|(known, _)| *known == kind) {
            return Some(encoder.clone());
        }
        let encoder = Encoder::new(self.method, self.kind, kind, state.amax);
        state.encoders.push((kind, encoder.clone()));
        Some(encoder)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
