//! A GPU that may fail: the CPU goes on where it does. Both give the same bytes, so that only time is lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::{
    Backend, BackendError, Fault, GridCell, Grouped, GroupedChunk, Nvfp4Chunk, Quantized, TieMatch,
    Weights,
};
use crate::cpu::Cpu;
use crate::format::{Coder, Nvfp4Tables, Scheme};
use crate::numeric::FloatKind;
use crate::stats::{ErrorSums, WeightSums};

/// A backend with the CPU behind it. A call for which it has no memory is repeated on smaller pieces; one
/// that it cannot do, and all after that, are the CPU's.
pub struct Fallback {
    backend: Box<dyn Backend>,
    state: Mutex<State>,
}

/// What went wrong so far.
#[derive(Debug, Clone, Default)]
struct State {
    /// How often the pieces were halved.
    halvings: u32,
    /// Why the CPU goes on.
    broken: Option<BackendError>,
}

impl Fallback {
    /// With the CPU behind `backend`.
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self { backend: Box::new(backend), state: Mutex::default() }
    }

    /// Has the backend do `call`, or else the CPU.
    fn call<T>(
        &self,
        call: impl Fn(&dyn Backend) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        loop {
            let before = self.state().clone();
            if before.broken.is_some() {
                return call(&Cpu);
            }
            match call(self.backend.as_ref()) {
                Ok(done) => return Ok(done),
                Err(error) => self.note(error, before.halvings),
            }
        }
    }

    /// Takes the failure of a call that began after so many halvings.
    fn note(&self, error: BackendError, halvings: u32) {
        let mut state = self.state();
        if error.fault == Fault::OutOfMemory {
            // Calls that fail together are one reason to halve the pieces, not several.
            if state.halvings > halvings {
                return;
            }
            if self.backend.shrink() {
                state.halvings += 1;
                return;
            }
        }
        state.broken.get_or_insert(error);
    }

    fn is_broken(&self) -> bool {
        self.state().broken.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Fallback {
    fn name(&self) -> &str {
        self.backend.name()
    }

    fn useful_callers(&self) -> usize {
        if self.is_broken() { Cpu.useful_callers() } else { self.backend.useful_callers() }
    }

    fn chunk_bytes(&self) -> u64 {
        if self.is_broken() { Cpu.chunk_bytes() } else { self.backend.chunk_bytes() }
    }

    fn shrink(&self) -> bool {
        self.backend.shrink()
    }

    fn notices(&self) -> Vec<String> {
        let State { halvings, broken } = self.state().clone();
        let mut notices = self.backend.notices();
        if halvings > 0 {
            let size = match halvings {
                1 => "half the size".to_owned(),
                n => format!("1/{} of the size", 1u64 << n.min(63)),
            };
            notices
                .push(format!("{} ran out of memory: it works on pieces of {size}", self.name()));
        }
        if let Some(BackendError { device, message, .. }) = broken {
            notices.push(format!("{device}: {message}. The CPU goes on; the bytes are the same"));
        }
        notices
    }

    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
        self.call(|backend| backend.amax(weights))
    }

    fn nvfp4_quantize(
        &self,
        weights: Weights<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Quantized, BackendError> {
        self.call(|backend| backend.nvfp4_quantize(weights, tables))
    }

    fn nvfp4_dequantize(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError> {
        self.call(|backend| backend.nvfp4_dequantize(chunk, tables))
    }

    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        self.call(|backend| backend.nvfp4_errors(weights, chunk, tables))
    }

    fn nvfp4_match(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError> {
        self.call(|backend| backend.nvfp4_match(weights, chunk, tables))
    }

    fn grouped_quantize(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError> {
        self.call(|backend| backend.grouped_quantize(weights, columns, coder))
    }

    fn grouped_dequantize(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError> {
        self.call(|backend| backend.grouped_dequantize(chunk, scheme))
    }

    fn grouped_errors(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        self.call(|backend| backend.grouped_errors(weights, chunk, scheme))
    }

    fn grouped_match(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<TieMatch, BackendError> {
        self.call(|backend| backend.grouped_match(weights, chunk, scheme, made_of))
    }

    fn halve(&self, cells: &[GridCell], columns: usize) -> Result<Vec<GridCell>, BackendError> {
        self.call(|backend| backend.halve(cells, columns))
    }
}
