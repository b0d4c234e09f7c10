// Codes under scales that are known, eight a thread. Twin of the second loop of
// `src/cpu/grouped/`.

fn four_encoded(first: u32) -> u32 {
    var four = 0u;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k;
        if i < params.len {
            four |= code_for(exact(weight(i)), group_of(i)) << (8u * k);
        }
    }
    return four;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let first = 8u * thread.x;
    if first < params.len {
        codes[thread.x] = vec2(four_encoded(first), four_encoded(first + 4u));
    }
}
