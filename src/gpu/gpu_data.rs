//! What the kernels are bound to, as it lies in their memory. Twin of
//! `shaders/shared/bindings.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::format::nvfp4::decode;
use crate::format::nvfp4_search::Trials;
use crate::format::{Nvfp4Tables, SearchTables};

/// Rows of a table that a scale code without its sign bit can pick.
const SCALES: usize = 128;

/// A start that no magnitude reaches.
const UNREACHABLE: u32 = u32::MAX;

/// Parameters of one dispatch; `shaders/shared/bindings.wgsl` says what each is.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub len: u32,
    pub unit: f32,
    pub zero_block_scale: u32,
    pub trials: u32,
    pub trials_are_scales: u32,
    pub likely_trial: u32,
    pub rows: u32,
    pub columns: u32,
    pub group_rows: u32,
    pub group_columns: u32,
    pub across: u32,
    pub lanes: u32,
    pub element: u32,
    pub int_limit: u32,
    pub quotient: u32,
    pub zero_points: u32,
    pub near: u32,
    pub near_at_ends: u32,
}

/// What one scale code means.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Scale {
    code_starts: [u32; 8],
    values: [u32; 8],
}

/// [`Nvfp4Tables`], with rows for every scale code that a file may hold.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Tables {
    scale_starts: [u32; SCALES],
    scales: [Scale; SCALES],
    trials: [u32; SCALES],
    trial_starts: [u32; SCALES],
    stored_starts: [u32; SCALES],
    trial_scales: [Scale; SCALES],
    sign_starts: [u32; SCALES],
}

impl Tables {
    /// The tables in the layout of the kernels.
    pub fn new(tables: &Nvfp4Tables) -> Self {
        let thresholds = tables.thresholds();
        let scale = |code: usize| match thresholds.code_starts.get(code) {
            Some(starts) => Scale {
                code_starts: eight(starts, thresholds.beyond_starts[code]),
                values: thresholds.values[code],
            },
            // The code of NaN, which no quantized block has but a damaged file may.
            None => Scale {
                // Beyond reach of every code, so that none matches.
                code_starts: [0; 8],
                values: std::array::from_fn(|k| {
                    decode(k as u8, tables.scaling.step(code as u8)).to_bits()
                }),
            },
        };
        let mut all = Self {
            scale_starts: starts(&thresholds.scale_starts),
            scales: std::array::from_fn(scale),
            sign_starts: std::array::from_fn(|code| {
                thresholds.sign_starts.get(code).copied().unwrap_or(UNREACHABLE)
            }),
            ..Self::zeroed()
        };
        if let Some(search) = &tables.search {
            all.add_search(search);
        }
        all
    }

    fn add_search(&mut self, tables: &SearchTables) {
        let trial = |i: usize| match &tables.search.trials {
            Trials::Multiples(multiples) => multiples.get(i).map_or(0, |k| k.to_bits()),
            Trials::Scales(scales) => scales
                .get(i)
                .map_or(0, |&(trial, stored)| u32::from(trial) | u32::from(stored) << 8),
        };
        self.trials = std::array::from_fn(trial);
        self.trial_starts = starts(&tables.trial_starts);
        self.stored_starts = starts(&tables.stored_starts);
        let rows = tables.code_starts.iter().zip(&tables.values);
        for (row, (starts, values)) in self.trial_scales.iter_mut().zip(rows) {
            *row = Scale { code_starts: eight(starts, UNREACHABLE), values: *values };
        }
    }
}

/// Starts of codes 1 and above: what a magnitude counts those of that it has reached.
fn starts(of_codes: &[u32]) -> [u32; SCALES] {
    std::array::from_fn(|i| of_codes.get(i + 1).copied().unwrap_or(UNREACHABLE))
}

fn eight(starts: &[u32; 7], last: u32) -> [u32; 8] {
    std::array::from_fn(|k| starts.get(k).copied().unwrap_or(last))
}
