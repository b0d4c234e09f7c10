// Scale codes that are searched for. Twin of `src/cpu/nvfp4_search.rs`.
//
// A thread takes the four blocks whose scales share a word, so no two threads write the same one.

const BLOCKS_PER_THREAD: u32 = 4u;

// The number of starts that a magnitude has reached, by binary search over 127.
fn code_of(magnitude: u32, stored: bool) -> u32 {
    var code = 0u;
    for (var stride = 64u; stride > 0u; stride /= 2u) {
        let i = code + stride - 1u;
        if magnitude >= select(tables.trial_starts[i], tables.stored_starts[i], stored) {
            code += stride;
        }
    }
    return code;
}

// The codes of the trial scale and of the stored scale of a trial.
fn trial_codes(i: u32, amax: u32) -> vec2<u32> {
    if params.trials_are_scales != 0u {
        return vec2(tables.trials[i] & 0xFFu, tables.trials[i] >> 8u);
    }
    let magnitude = multiplied(amax, tables.trials[i]);
    let stored = code_of(magnitude, true);
    return vec2(code_of(magnitude, false), select(stored, params.zero_block_scale, stored == 0u));
}

// The squared error of a magnitude under a trial scale, as f32 bits.
fn squared_error(magnitude: u32, trial: u32) -> u32 {
    let low = tables.trial_scales[trial].code_starts[0];
    let high = tables.trial_scales[trial].code_starts[1];
    let above = vec4<u32>(vec4(magnitude) >= low);
    let k = above.x + above.y + above.z + above.w + u32(magnitude >= high.x)
        + u32(magnitude >= high.y) + u32(magnitude >= high.z);
    let value = tables.trial_scales[trial].values[k];
    if value == INFINITY {
        return INFINITY;
    }
    let difference = added(magnitude, value | SIGN) & MAGNITUDE;
    return multiplied(difference, difference);
}

// Sum of two f32 bit patterns that are not negative, and may be infinite.
fn sum(a: u32, b: u32) -> u32 {
    if a == INFINITY || b == INFINITY {
        return INFINITY;
    }
    return added(a, b);
}

fn error_of(block: ptr<function, array<u32, 16>>, trial: u32) -> u32 {
    var eight: array<u32, 8>;
    for (var i = 0u; i < 8u; i++) {
        eight[i] = sum(squared_error((*block)[i], trial), squared_error((*block)[i + 8u], trial));
    }
    for (var half = 4u; half > 0u; half /= 2u) {
        for (var i = 0u; i < half; i++) {
            eight[i] = sum(eight[2u * i], eight[2u * i + 1u]);
        }
    }
    return eight[0];
}

fn search(block: u32) -> u32 {
    var magnitudes: array<u32, 16>;
    var amax = 0u;
    for (var i = 0u; i < 16u; i++) {
        magnitudes[i] = exact(weight(16u * block + i)) & MAGNITUDE;
        amax = max(amax, magnitudes[i]);
    }
    var likely = params.likely_trial;
    if params.trials_are_scales != 0u {
        let code = code_of(amax, true);
        likely = select(code, params.zero_block_scale, code == 0u) - 1u;
    }

    let first = trial_codes(likely, amax);
    var best = likely;
    var least = error_of(&magnitudes, first.x);
    var scale = first.y;
    for (var i = 0u; i < params.trials; i++) {
        let codes = trial_codes(i, amax);
        // The sum is no less than its largest part: most trials end here.
        if squared_error(amax, codes.x) > least {
            continue;
        }
        let error = error_of(&magnitudes, codes.x);
        if error < least || (error == least && i < best) {
            best = i;
            least = error;
            scale = codes.y;
        }
    }
    return scale;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let first = thread.x * BLOCKS_PER_THREAD;
    if first >= params.len {
        return;
    }
    var word = 0u;
    for (var k = 0u; k < min(BLOCKS_PER_THREAD, params.len - first); k++) {
        word |= search(first + k) << (8u * k);
    }
    scales[thread.x] = word;
}
