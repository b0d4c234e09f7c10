// Codes and block scales. Twin of `src/cpu/nvfp4_quantize.rs`.
//
// A thread takes the four blocks whose scales share a word, so no two threads write the same one.

const BLOCKS_PER_THREAD: u32 = 4u;

// The number of scale starts that a block amax has reached, by binary search over 127.
fn scale_code(amax: u32) -> u32 {
    var code = 0u;
    for (var stride = 64u; stride > 0u; stride /= 2u) {
        if amax >= tables.scale_starts[code + stride - 1u] {
            code += stride;
        }
    }
    return select(code, params.zero_block_scale, code == 0u);
}

// Four codes in the low half: the number of starts reached, and the sign of all whose quotients are no zeros.
fn encode(patterns: vec4<u32>, low: vec4<u32>, high: vec4<u32>, signed: u32) -> u32 {
    let m = magnitudes(patterns);
    let magnitude = reached(m, low.x) + reached(m, low.y) + reached(m, low.z) + reached(m, low.w)
        + reached(m, high.x) + reached(m, high.y) + reached(m, high.z);
    let sign = select(signs(patterns), vec4(0u), m < vec4(signed));
    let code = magnitude | (sign << vec4(3u));
    return code.x | (code.y << 4u) | (code.z << 8u) | (code.w << 12u);
}

// Stores the codes of a block and returns its scale code, which a search may have found before.
fn quantize_block(block: u32) -> u32 {
    let first = block * FOURS_IN_BLOCK;
    let a = four_weights(first);
    let b = four_weights(first + 1u);
    let c = four_weights(first + 2u);
    let d = four_weights(first + 3u);
    var scale = block_scale(block);
    if params.trials == 0u {
        let four = max(max(magnitudes(a), magnitudes(b)), max(magnitudes(c), magnitudes(d)));
        scale = scale_code(max(max(four.x, four.y), max(four.z, four.w)));
    }

    let low = tables.scales[scale].code_starts[0];
    let high = tables.scales[scale].code_starts[1];
    let signed = tables.sign_starts[scale];
    codes[block] = vec2(
        encode(a, low, high, signed) | (encode(b, low, high, signed) << 16u),
        encode(c, low, high, signed) | (encode(d, low, high, signed) << 16u),
    );
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
        word |= quantize_block(first + k) << (8u * k);
    }
    scales[thread.x] = word;
}
