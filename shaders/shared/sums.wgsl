// Sums over weights and errors in units of `1 / params.unit`, f32 and for display; the host adds the
// workgroups up in f64. Twin of `src/gpu/sums.rs`.

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

// Sums over four weights, given by their patterns, and the f32 bits of what their codes stand for.
fn sums_of_four(patterns: vec4<u32>, values: vec4<u32>) -> Sums {
    let zero = select(vec4(0u), vec4(1u), magnitudes(patterns) == vec4(0u));
    let w = widen(patterns) * params.unit;
    let error = abs(w - bitcast<vec4<f32>>(values) * params.unit);
    return Sums(
        zero.x + zero.y + zero.z + zero.w,
        (w.x + w.y) + (w.z + w.w),
        (abs(w.x) + abs(w.y)) + (abs(w.z) + abs(w.w)),
        dot(w, w),
        dot(error, error),
        max(max(error.x, error.y), max(error.z, error.w)),
    );
}

// Adds up what the threads of a workgroup have, for the host.
fn write_sums(own: Sums, workgroup: u32, thread: u32) {
    sums[thread] = own;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            sums[thread] = merge(sums[thread], sums[thread + half]);
        }
    }
    if thread == 0u {
        let total = sums[0];
        let first = 6u * workgroup;
        results[first] = total.zeros;
        results[first + 1u] = bitcast<u32>(total.sum);
        results[first + 2u] = bitcast<u32>(total.sum_abs);
        results[first + 3u] = bitcast<u32>(total.sum_squares);
        results[first + 4u] = bitcast<u32>(total.error_squares);
        results[first + 5u] = bitcast<u32>(total.error_max);
    }
}
