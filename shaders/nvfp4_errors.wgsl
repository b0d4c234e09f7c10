// Sums over weights and over their differences from what codes stand for. Twin of
// `src/cpu/sums.rs`.

const BLOCKS_PER_THREAD: u32 = 4u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var own = Sums();
    for (var k = 0u; k < BLOCKS_PER_THREAD; k++) {
        let block = (group.x * BLOCKS_PER_THREAD + k) * THREADS + thread;
        if block < params.len {
            let scale = block_scale(block);
            for (var four = 0u; four < FOURS_IN_BLOCK; four++) {
                let i = block * FOURS_IN_BLOCK + four;
                own = merge(own, sums_of_four(four_weights(i), four_values(four_codes(i), scale)));
            }
        }
    }
    write_sums(own, group.x, thread);
}
