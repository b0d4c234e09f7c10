// What every kernel is bound to. Twin of `src/gpu/gpu_data.rs`.

// Threads of a workgroup.
const THREADS: u32 = 64u;

struct Params {
    // Items to work on: groups of four weights for `amax`, blocks for the `nvfp4` kernels, weights
    // for the `grouped` ones.
    len: u32,
    // Power of two that brings the largest magnitude near 1; only sums use it.
    unit: f32,
    // The scale code of a block of zeros.
    zero_block_scale: u32,
    // Trials of a search for scales: how many, or 0 if there is no search; whether they are pairs
    // of scale codes, or else multiples of a block's amax; and of those a good one to start at.
    trials: u32,
    trials_are_scales: u32,
    likely_trial: u32,
    // All that follows is of the `grouped` kernels: the shape of the matrix and of a group,
    rows: u32,
    columns: u32,
    group_rows: u32,
    group_columns: u32,
    // groups side by side, threads that share one,
    across: u32,
    lanes: u32,
    // what a code is, the largest magnitude of a whole number,
    element: u32,
    int_limit: u32,
    // how quotients are rounded, and whether there are zero points.
    quotient: u32,
    zero_points: u32,
    // Where there are no quotients: f32 bits of the steps that a weight may be away from its code, and
    // from one that is clipped.
    near: u32,
    near_at_ends: u32,
}

// What one scale code means.
struct Scale {
    // Smallest magnitude patterns above codes 0 to 6, and too large for any code to match.
    code_starts: array<vec4<u32>, 2>,
    // f32 bits of what codes 0 to 7 stand for.
    values: array<u32, 8>,
}

struct Tables {
    // Smallest block amax patterns of scale codes 1 to 126; the rest is reached by none.
    scale_starts: array<u32, 128>,
    scales: array<Scale, 128>,
    // All that follows is of a search, in f32 patterns whatever the weights are. A trial is a
    // multiple, or the codes of the trial scale and, eight bits up, of the stored one.
    trials: array<u32, 128>,
    // Smallest magnitudes of trial scale codes and of stored scale codes 1 to 126.
    trial_starts: array<u32, 128>,
    stored_starts: array<u32, 128>,
    // What the code of a trial scale means.
    trial_scales: array<Scale, 128>,
    // Not of a search: smallest magnitude patterns whose codes under a scale code have a sign.
    sign_starts: array<u32, 128>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tables: Tables;
// Patterns of weights as they are stored: four 16-bit weights an item, or two of 32 bits.
@group(0) @binding(2) var<storage, read> weights: array<vec2<u32>>;
// The sixteen codes of a block an item, or eight codes of a byte.
@group(0) @binding(3) var<storage, read_write> codes: array<vec2<u32>>;
// The scale codes of four blocks an item, or the words of `Group`s.
@group(0) @binding(4) var<storage, read_write> scales: array<u32>;
// What the host reads back: maxima, sums, or bits of f32 values.
@group(0) @binding(5) var<storage, read_write> results: array<u32>;
