// Sums over each workgroup's weights and errors, in units of `1 / params.unit`. Twin of
// `src/cpu/sums.rs`. The sums are f32 and for display; the host adds the workgroups up in f64.

const THREADS: u32 = 64u;
const BLOCKS_PER_THREAD: u32 = 4u;

struct Sums {
    zeros: u32,
    sum: f32,
    sum_abs: f32,
    sum_squares: f32,
    error_squares: f32,
    error_max: f32,
}

var<workgroup> sums: array<Sums, THREADS>;

fn merge(a: Sums, b: Sums) -> Sums {
    return Sums(
        a.zeros + b.zeros,
        a.sum + b.sum,
        a.sum_abs + b.sum_abs,
        a.sum_squares + b.sum_squares,
        a.error_squares + b.error_squares,
        max(a.error_max, b.error_max),
    );
}

// Sums over weights 4i to 4i + 3 under a scale code.
fn sums_of_four(i: u32, scale: u32) -> Sums {
    let patterns = four_weights(i);
    let zero = select(vec4(0u), vec4(1u), magnitudes(patterns) == vec4(0u));
    let w = widen(patterns) * params.unit;
    let value = bitcast<vec4<f32>>(four_values(four_codes(i), scale)) * params.unit;
    let error = abs(w - value);
    return Sums(
        zero.x + zero.y + zero.z + zero.w,
        (w.x + w.y) + (w.z + w.w),
        (abs(w.x) + abs(w.y)) + (abs(w.z) + abs(w.w)),
        dot(w, w),
        dot(error, error),
        max(max(error.x, error.y), max(error.z, error.w)),
    );
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var own = Sums();
    for (var k = 0u; k < BLOCKS_PER_THREAD; k++) {
        let block = (group.x * BLOCKS_PER_THREAD + k) * THREADS + thread;
        if block < params.len {
            let scale = block_scale(block);
            for (var four = 0u; four < FOURS_IN_BLOCK; four++) {
                own = merge(own, sums_of_four(block * FOURS_IN_BLOCK + four, scale));
            }
        }
    }
    sums[thread] = own;

    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            sums[thread] = merge(sums[thread], sums[thread + half]);
        }
    }
    if thread == 0u {
        let total = sums[0];
        let first = 6u * group.x;
        results[first] = total.zeros;
        results[first + 1u] = bitcast<u32>(total.sum);
        results[first + 2u] = bitcast<u32>(total.sum_abs);
        results[first + 3u] = bitcast<u32>(total.sum_squares);
        results[first + 4u] = bitcast<u32>(total.error_squares);
        results[first + 5u] = bitcast<u32>(total.error_max);
    }
}
