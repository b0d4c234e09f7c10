//! What the kernels are bound to, as it lies in their memory. Twin of
//! `shaders/shared/bindings.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::format::Nvfp4Tables;
use crate::format::nvfp4::decode;

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
    pub rows: u32,
    pub columns: u32,
    pub group_rows: u32,
    pub group_columns: u32,
    pub across: u32,
    pub lanes: u32,
    pub element: u32,
    pub int_limit: u32,
    pub quotient_own: u32,
    pub zero_points: u32,
    /// Uniform buffers are multiples of 16 bytes.
    pub padding: [u32; 3],
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
}

impl Tables {
    /// The tables in the layout of the kernels.
    pub fn new(tables: &Nvfp4Tables) -> Self {
        // A block amax counts the starts of codes 1 and above that it has reached.
        let scale_start = |i: usize| tables.scale_starts.get(i + 1).copied();
        let scale = |code: usize| match tables.code_starts.get(code) {
            Some(starts) => Scale {
                code_starts: std::array::from_fn(|k| {
                    starts.get(k).copied().unwrap_or(tables.beyond_starts[code])
                }),
                values: tables.values[code],
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
        Self {
            scale_starts: std::array::from_fn(|i| scale_start(i).unwrap_or(UNREACHABLE)),
            scales: std::array::from_fn(scale),
        }
    }
}
