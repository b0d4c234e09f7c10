// NVFP4 blocks of sixteen weights, read four weights at a time.

const FOURS_IN_BLOCK: u32 = 4u;

// The scale code of a block.
fn block_scale(block: u32) -> u32 {
    return (scales[block / 4u] >> (8u * (block % 4u))) & 0xFFu;
}

// Codes of weights 4i to 4i + 3.
fn four_codes(i: u32) -> vec4<u32> {
    let eight = codes[i / 4u][(i / 2u) % 2u];
    let four = eight >> (16u * (i % 2u));
    return (vec4(four) >> vec4(0u, 4u, 8u, 12u)) & vec4(0xFu);
}

// f32 bits of what four codes stand for under a scale code. Both have a sign.
fn four_values(four: vec4<u32>, scale: u32) -> vec4<u32> {
    let row = scale & 0x7Fu;
    let k = four & vec4(7u);
    let magnitude = vec4(
        tables.scales[row].values[k.x],
        tables.scales[row].values[k.y],
        tables.scales[row].values[k.z],
        tables.scales[row].values[k.w],
    );
    let sign = (four >> vec4(3u)) ^ vec4(scale >> 7u);
    return magnitude | (sign << vec4(31u));
}

// 1 for each magnitude that has reached the start.
fn reached(m: vec4<u32>, start: u32) -> vec4<u32> {
    return select(vec4(0u), vec4(1u), m >= vec4(start));
}
