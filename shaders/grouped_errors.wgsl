// Sums over weights and over their differences from what codes stand for. Twin of
// `src/cpu/grouped/`.

const FOURS_PER_THREAD: u32 = 16u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var own = Sums();
    for (var k = 0u; k < FOURS_PER_THREAD; k++) {
        let four = (group.x * FOURS_PER_THREAD + k) * THREADS + thread;
        // Beyond the last weight there is a zero whose code is exact.
        var patterns = vec4(0u);
        var values = vec4(0u);
        for (var j = 0u; j < 4u; j++) {
            let i = 4u * four + j;
            if i < params.len {
                patterns[j] = weight(i);
                values[j] = value(code(i), group_of(i));
            }
        }
        if 4u * four < params.len {
            own = merge(own, sums_of_four(patterns, values));
            own.zeros -= max(4u * four + 4u, params.len) - params.len;
        }
    }
    write_sums(own, group.x, thread);
}
