// f32 bits of what codes stand for, eight a thread. Twin of `src/cpu/grouped/`.

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    for (var k = 0u; k < 8u; k++) {
        let i = 8u * thread.x + k;
        if i < params.len {
            results[i] = value(code(i), group_of(i));
        }
    }
}
