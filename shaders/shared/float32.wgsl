// f32 arithmetic on bit patterns, by integers alone: WGSL leaves the rounding direction, division
// and subnormals of its floats to the device, and whole numbers not. Everything rounds to nearest,
// ties to even. Operands are finite.

const SIGN: u32 = 0x80000000u;
const MAGNITUDE: u32 = 0x7FFFFFFFu;
const INFINITY: u32 = 0x7F800000u;

// m * 2^(e - 150), where m is 0 or has 24 bits.
struct Parts {
    e: i32,
    m: u32,
}

// The parts of a magnitude.
fn parts(bits: u32) -> Parts {
    let e = i32(bits >> 23u);
    let fraction = bits & 0x7FFFFFu;
    if e != 0 {
        return Parts(e, fraction | 0x800000u);
    }
    if fraction == 0u {
        return Parts(0, 0u);
    }
    let shift = countLeadingZeros(fraction) - 8u;
    return Parts(1 - i32(shift), fraction << shift);
}

// q / 2^shift as a whole number. `sticky` says that there is more below q; shift is at least 1.
fn shifted(q: u32, shift: u32, sticky: bool) -> u32 {
    if shift > 31u {
        return 0u;
    }
    let kept = q >> shift;
    let rest = q & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    let up = rest > half || (rest == half && (sticky || (kept & 1u) == 1u));
    return kept + select(0u, 1u, up);
}

// The magnitude q * 2^(e - 152), where q has 26 bits.
fn assembled(q: u32, e: i32, sticky: bool) -> u32 {
    if e >= 255 {
        return INFINITY;
    }
    if e <= 0 {
        return shifted(q, u32(3 - e), sticky);
    }
    // The leading bit of the mantissa adds one to the exponent, as does a carry.
    return (u32(e - 1) << 23u) + shifted(q, 2u, sticky);
}

// Quotient of two magnitudes; b is not 0.
fn divided(a: u32, b: u32) -> u32 {
    let x = parts(a);
    let y = parts(b);
    if x.m == 0u {
        return 0u;
    }
    var e = x.e - y.e + 127;
    var m = x.m;
    if m < y.m {
        m <<= 1u;
        e -= 1;
    }
    // 26 bits of the quotient: 1, then three times 8 bits, then 1. A remainder has 24 bits.
    var rest = m - y.m;
    var q = 1u;
    for (var k = 0u; k < 3u; k++) {
        rest <<= 8u;
        q = (q << 8u) | (rest / y.m);
        rest %= y.m;
    }
    rest <<= 1u;
    let last = select(0u, 1u, rest >= y.m);
    return assembled((q << 1u) | last, e, rest != last * y.m);
}

// Product of two magnitudes.
fn multiplied(a: u32, b: u32) -> u32 {
    let x = parts(a);
    let y = parts(b);
    if x.m == 0u || y.m == 0u {
        return 0u;
    }
    // The product of 24 bits and 24 bits, of which 12 and 12 fit: high * 2^24 + low.
    let x_high = x.m >> 12u;
    let x_low = x.m & 0xFFFu;
    let y_high = y.m >> 12u;
    let y_low = y.m & 0xFFFu;
    let low = ((x_high * y_low + x_low * y_high) & 0xFFFu) * 0x1000u + x_low * y_low;
    let high = x_high * y_high + ((x_high * y_low + x_low * y_high) >> 12u) + (low >> 24u);
    let rest = low & 0xFFFFFFu;
    // 23 or 24 bits of `high` and 3 or 2 of `rest` make 26.
    let e = x.e + y.e - 127;
    if (high >> 23u) != 0u {
        return assembled((high << 2u) | (rest >> 22u), e + 1, (rest & 0x3FFFFFu) != 0u);
    }
    return assembled((high << 3u) | (rest >> 21u), e, (rest & 0x1FFFFFu) != 0u);
}

// Sum of two values of either sign. The sign of a zero sum is of no use.
fn added(a: u32, b: u32) -> u32 {
    let swap = (a & MAGNITUDE) < (b & MAGNITUDE);
    let large = select(a, b, swap);
    let small = select(b, a, swap);
    let x = parts(large & MAGNITUDE);
    let y = parts(small & MAGNITUDE);
    if y.m == 0u {
        return large;
    }
    // Six bits below the last one keep what rounding needs.
    let distance = u32(x.e - y.e);
    var m = y.m << 6u;
    if distance > 29u {
        m = 1u;
    } else if distance > 0u {
        m = (m >> distance) | select(0u, 1u, (m & ((1u << distance) - 1u)) != 0u);
    }
    let sum = select((x.m << 6u) + m, (x.m << 6u) - m, ((a ^ b) & SIGN) != 0u);
    if sum == 0u {
        return 0u;
    }
    let top = firstLeadingBit(sum);
    let e = x.e - 29 + i32(top);
    let sign = large & SIGN;
    if top > 25u {
        let shift = top - 25u;
        return sign | assembled(sum >> shift, e, (sum & ((1u << shift) - 1u)) != 0u);
    }
    return sign | assembled(sum << (25u - top), e, false);
}

// The whole number nearest to a magnitude; all above 2^24 are as good as that.
fn whole(bits: u32) -> u32 {
    let x = parts(bits);
    if x.e >= 150 {
        return 0x1000000u;
    }
    return shifted(x.m, u32(150 - x.e), false);
}

// The same with ties away from zero.
fn whole_away(bits: u32) -> u32 {
    let x = parts(bits);
    if x.e >= 150 {
        return 0x1000000u;
    }
    let shift = u32(150 - x.e);
    return select((x.m + (1u << ((shift - 1u) & 31u))) >> (shift & 31u), 0u, shift > 31u);
}

// n * 2^-scale as f32 bits, for n below 2^24 and results that are normal.
fn float_of(n: u32, scale: u32) -> u32 {
    if n == 0u {
        return 0u;
    }
    let top = firstLeadingBit(n);
    return ((top + 127u - scale) << 23u) | ((n << (23u - top)) & 0x7FFFFFu);
}
