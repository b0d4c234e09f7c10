// f32 bits of what codes stand for, four a thread. Twin of `src/cpu/nvfp4_dequantize.rs`.

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let i = thread.x;
    let block = i / FOURS_IN_BLOCK;
    if block >= params.len {
        return;
    }
    let bits = four_values(four_codes(i), block_scale(block));
    for (var k = 0u; k < 4u; k++) {
        results[4u * i + k] = bits[k];
    }
}
