// Weights as bit patterns of their own kind. Magnitudes of one kind order like their patterns, so
// whatever decides a bit compares integers; only sums for display go through `widen`.

const BF16: u32 = 0u;
const F16: u32 = 1u;
const F32: u32 = 2u;

// The kind of the weights, set when the pipeline is made.
override KIND: u32 = BF16;

// Patterns of weights 4i to 4i + 3.
fn four_weights(i: u32) -> vec4<u32> {
    if KIND == F32 {
        return vec4(weights[2u * i], weights[2u * i + 1u]);
    }
    let pairs = weights[i];
    return vec4(pairs.x & 0xFFFFu, pairs.x >> 16u, pairs.y & 0xFFFFu, pairs.y >> 16u);
}

// Patterns without their sign bits.
fn magnitudes(patterns: vec4<u32>) -> vec4<u32> {
    return patterns & vec4(select(0x7FFFu, 0x7FFFFFFFu, KIND == F32));
}

// Sign bits, 0 or 1.
fn signs(patterns: vec4<u32>) -> vec4<u32> {
    return patterns >> vec4(select(15u, 31u, KIND == F32));
}

// Values of finite weights; f32 subnormals may come out as 0.
fn widen(patterns: vec4<u32>) -> vec4<f32> {
    if KIND == BF16 {
        return bitcast<vec4<f32>>(patterns << vec4(16u));
    }
    if KIND == F32 {
        return bitcast<vec4<f32>>(patterns);
    }
    let m = magnitudes(patterns);
    // Subnormals count units of 2^-24; the others need another exponent bias.
    let subnormal = vec4<f32>(m) * 0x1p-24f;
    let normal = bitcast<vec4<f32>>((m << vec4(13u)) + vec4(112u << 23u));
    let magnitude = select(normal, subnormal, m < vec4(0x0400u));
    return select(magnitude, -magnitude, signs(patterns) == vec4(1u));
}
