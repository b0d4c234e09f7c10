// Codes under one level of scales. Twin of `src/format/grouped.rs`. Scales come from the host; a
// group's is three words: its f32 bits, its zero point, and the f32 bits of its reciprocal.

const E2M1_EVEN: u32 = 0u;
const E2M1_DOWN: u32 = 1u;
const E4M3: u32 = 2u;
const INT: u32 = 3u;

const E4M3_NAN: u32 = 0x7Fu;

const QUOTIENT_OWN: u32 = 1u;
const RECIPROCAL: u32 = 2u;
const PRODUCT_F32: u32 = 3u;
const PRODUCT_OWN: u32 = 4u;

struct Group {
    scale: u32,
    zero_point: i32,
    reciprocal: u32,
}

// The scale of weight i.
fn group_of(i: u32) -> Group {
    let row = i / params.columns;
    let column = i % params.columns;
    let g = (row / params.group_rows) * params.across + column / params.group_columns;
    return Group(scales[3u * g], i32(scales[3u * g + 1u]), scales[3u * g + 2u]);
}

// The pattern of weight i.
fn weight(i: u32) -> u32 {
    if KIND == F32 {
        return weights[i / 2u][i % 2u];
    }
    return (weights[i / 4u][(i / 2u) % 2u] >> (16u * (i % 2u))) & 0xFFFFu;
}

// The code of weight i, in a byte.
fn code(i: u32) -> u32 {
    return (codes[i / 8u][(i / 4u) % 2u] >> (8u * (i % 4u))) & 0xFFu;
}

// f32 bits of a pattern, exactly.
fn exact(pattern: u32) -> u32 {
    if KIND == F32 {
        return pattern;
    }
    if KIND == BF16 {
        return pattern << 16u;
    }
    let m = pattern & 0x7FFFu;
    let magnitude = select((m << 13u) + (112u << 23u), float_of(m, 24u), m < 0x0400u);
    return ((pattern & 0x8000u) << 16u) | magnitude;
}

// f32 bits rounded to the type of the weights.
fn rounded(bits: u32) -> u32 {
    if KIND == F32 {
        return bits;
    }
    let sign = bits & SIGN;
    let m = bits & MAGNITUDE;
    if KIND == BF16 {
        return sign | ((m + 0x7FFFu + ((m >> 16u) & 1u)) & 0xFFFF0000u);
    }
    // Below 2^-14 an f16 is a multiple of 2^-24.
    if m < (113u << 23u) {
        let x = parts(m);
        return sign | float_of(shifted(x.m, u32(126 - x.e), false), 24u);
    }
    let normal = (m + 0x0FFFu + ((m >> 13u) & 1u)) & 0xFFFFE000u;
    return sign | select(normal, INFINITY, normal >= 0x47800000u);
}

// f32 bits of a small whole number.
fn small(n: i32) -> u32 {
    return float_of(u32(abs(n)), 0u) | select(0u, SIGN, n < 0);
}

fn e4m3_of(m: u32) -> u32 {
    if m >= 0x43E00000u {
        return 0x7Eu;
    }
    // From 2^-6 on, 3 of 23 mantissa bits stay; below, a code counts units of 2^-9.
    if m >= (121u << 23u) {
        return min(((m + 0x7FFFFu + ((m >> 20u) & 1u)) >> 20u) - (120u << 3u), 0x7Eu);
    }
    let x = parts(m);
    return shifted(x.m, u32(141 - x.e), false);
}

// The code nearest to f32 bits, in a byte.
fn encoded(bits: u32) -> u32 {
    let m = bits & MAGNITUDE;
    let negative = (bits & SIGN) != 0u;
    switch params.element {
        case E2M1_EVEN: {
            let above = u32(m > 0x3E800000u) + u32(m >= 0x3F400000u) + u32(m > 0x3FA00000u)
                + u32(m >= 0x3FE00000u) + u32(m > 0x40200000u) + u32(m >= 0x40600000u)
                + u32(m > 0x40A00000u);
            return above | select(0u, 8u, negative && m != 0u);
        }
        case E2M1_DOWN: {
            let above = u32(m > 0x3E800000u) + u32(m > 0x3F400000u) + u32(m > 0x3FA00000u)
                + u32(m > 0x3FE00000u) + u32(m > 0x40200000u) + u32(m > 0x40600000u)
                + u32(m > 0x40A00000u);
            return above | select(0u, 8u, negative || m == 0u);
        }
        case E4M3: {
            return e4m3_of(m) | select(0u, 0x80u, negative);
        }
        default: {
            let n = whole(m);
            let up = min(n, params.int_limit - 1u);
            let down = 0u - min(n, params.int_limit);
            return select(up, down, negative) & 0xFFu;
        }
    }
}

// f32 bits of the number that a code is, less the zero point.
fn number(code: u32, zero_point: i32) -> u32 {
    switch params.element {
        case E2M1_EVEN, E2M1_DOWN: {
            let k = code & 7u;
            let half = 0x3F000000u;
            return select(half + (k << 22u), k * half, k < 2u) | ((code & 8u) << 28u);
        }
        case E4M3: {
            let k = code & 0x7Fu;
            let normal = (k << 20u) + (120u << 23u);
            return select(normal, float_of(k, 9u), k < 8u) | ((code & 0x80u) << 24u);
        }
        default: {
            return small((i32(code << 24u) >> 24u) - zero_point);
        }
    }
}

// A weight over its scale, rounded as the scheme says, plus the zero point.
fn quotient(bits: u32, group: Group) -> u32 {
    let own = params.quotient == QUOTIENT_OWN;
    var q = (bits & SIGN) | divided(bits & MAGNITUDE, group.scale);
    if own {
        q = rounded(q);
    }
    if params.zero_points != 0u {
        q = added(q, small(group.zero_point));
        if own {
            q = rounded(q);
        }
    }
    return q;
}

// The code of a weight by the reciprocal of its scale, in a byte.
fn encoded_by_reciprocal(bits: u32, group: Group) -> u32 {
    let half = params.int_limit;
    let largest = 2u * half - 1u;
    let m = bits & MAGNITUDE;
    let r = group.reciprocal & MAGNITUDE;
    let sign = (bits ^ group.reciprocal) & SIGN;
    var unsigned = 0u;
    if r == INFINITY {
        // The product is infinite too, or, of zero, no number.
        unsigned = select(0u, largest, m != 0u && sign == 0u);
    } else {
        let sum = added(sign | multiplied(m, r), small(group.zero_point + i32(half)));
        unsigned = select(min(whole_away(sum), largest), 0u, (sum & SIGN) != 0u);
    }
    return (unsigned - half) & 0xFFu;
}

// The code of a weight by its product with the reciprocal of its scale, in a byte. The reciprocal is
// finite and above zero.
fn encoded_by_product(bits: u32, group: Group) -> u32 {
    var product = multiplied(bits & MAGNITUDE, group.reciprocal);
    if params.quotient == PRODUCT_OWN {
        product = rounded(product);
    }
    // Every type has the whole numbers that are not clipped, so the sum needs no rounding.
    let n = i32(whole(product));
    let sum = select(n, -n, (bits & SIGN) != 0u) + group.zero_point;
    let half = i32(params.int_limit);
    return u32(clamp(sum, -half, half - 1)) & 0xFFu;
}

// The code of a weight.
fn code_for(bits: u32, group: Group) -> u32 {
    switch params.quotient {
        case RECIPROCAL: {
            return encoded_by_reciprocal(bits, group);
        }
        case PRODUCT_F32, PRODUCT_OWN: {
            return encoded_by_product(bits, group);
        }
        default: {
            return encoded(quotient(bits, group));
        }
    }
}

// f32 bits of what a code stands for.
fn value(code: u32, group: Group) -> u32 {
    if params.element == E4M3 && (code & E4M3_NAN) == E4M3_NAN {
        return 0x7FC00000u;
    }
    let n = number(code, group.zero_point);
    return ((n ^ group.scale) & SIGN) | multiplied(n & MAGNITUDE, group.scale & MAGNITUDE);
}
