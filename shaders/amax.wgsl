// The largest magnitude pattern of each workgroup's weights. Twin of `src/cpu/amax.rs`.

const FOURS_PER_THREAD: u32 = 32u;

var<workgroup> maxima: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var four = vec4(0u);
    for (var k = 0u; k < FOURS_PER_THREAD; k++) {
        let i = (group.x * FOURS_PER_THREAD + k) * THREADS + thread;
        if i < params.len {
            four = max(four, magnitudes(four_weights(i)));
        }
    }
    maxima[thread] = max(max(four.x, four.y), max(four.z, four.w));

    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            maxima[thread] = max(maxima[thread], maxima[thread + half]);
        }
    }
    if thread == 0u {
        results[group.x] = maxima[0];
    }
}
