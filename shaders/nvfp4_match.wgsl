// Compares weights with what codes stand for. Twin of `src/cpu/nvfp4_match.rs`.

const BLOCKS_PER_THREAD: u32 = 4u;

// Four weights as 0 or 1: whether they are apart.
fn apart(i: u32, scale: u32) -> vec4<u32> {
    let patterns = four_weights(i);
    let m = magnitudes(patterns);
    let low = tables.scales[scale & 0x7Fu].code_starts[0];
    let high = tables.scales[scale & 0x7Fu].code_starts[1];
    let k = reached(m, low.x) + reached(m, low.y) + reached(m, low.z) + reached(m, low.w)
        + reached(m, high.x) + reached(m, high.y) + reached(m, high.z);
    let stored = four_codes(i);
    // The two zeros are the same number.
    let sign = (signs(patterns) ^ (stored >> vec4(3u)) ^ vec4(scale >> 7u)) & min(k, vec4(1u));
    let other = select(vec4(0u), vec4(1u), k != (stored & vec4(7u)));
    return other | sign | reached(m, high.w);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var own = NONE;
    for (var k = 0u; k < BLOCKS_PER_THREAD; k++) {
        let block = (group.x * BLOCKS_PER_THREAD + k) * THREADS + thread;
        if block < params.len {
            for (var four = 0u; four < FOURS_IN_BLOCK; four++) {
                let i = block * FOURS_IN_BLOCK + four;
                let found = apart(i, block_scale(block));
                for (var j = 0u; j < 4u; j++) {
                    if found[j] == 1u {
                        own = join(own, Apart(1u, 4u * i + j));
                    }
                }
            }
        }
    }
    write_apart(own, group.x, thread);
}
