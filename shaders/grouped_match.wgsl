// Compares weights with what codes stand for. Twin of `src/cpu/grouped/`.

const WEIGHTS_PER_THREAD: u32 = 64u;

// Whether a value is at most one step beyond the numbers that codes are.
fn reaches(bits: u32) -> bool {
    let m = bits & MAGNITUDE;
    switch params.element {
        case E2M1_EVEN, E2M1_DOWN: {
            return m <= 0x41000000u; // 8
        }
        case E4M3: {
            return m <= 0x43F00000u; // 480
        }
        default: {
            let negative = (bits & SIGN) != 0u;
            return m <= float_of(params.int_limit + select(0u, 1u, negative), 0u);
        }
    }
}

// Whether a weight is too many steps away from what a code stands for.
fn is_far(bits: u32, stored: u32, group: Group) -> bool {
    let n = i32(stored << 24u) >> 24u;
    let half = i32(params.int_limit);
    let is_clipped = n == half - 1 || (params.zero_points != 0u && n == -half);
    let steps = select(params.near, params.near_at_ends, is_clipped);
    let own = value(stored, group);
    let distance = added(bits, own ^ SIGN) & MAGNITUDE;
    let is_finite = (own & MAGNITUDE) < INFINITY;
    return !is_finite || distance > multiplied(steps, group.scale & MAGNITUDE);
}

fn is_apart(i: u32) -> bool {
    let bits = exact(weight(i));
    let stored = code(i);
    let nan = params.element == E4M3 && (stored & E4M3_NAN) == E4M3_NAN;
    if nan || (bits & MAGNITUDE) >= INFINITY {
        return true;
    }
    let group = group_of(i);
    if params.quotient >= RECIPROCAL {
        return is_far(bits, stored, group);
    }
    let own = number(encoded(quotient(bits, group)), 0);
    let other = number(stored, 0);
    let same = own == other || ((own | other) & MAGNITUDE) == 0u;
    let plain = (bits & SIGN) | divided(bits & MAGNITUDE, group.scale);
    return !(same && reaches(added(plain, small(group.zero_point))));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var own = NONE;
    for (var k = 0u; k < WEIGHTS_PER_THREAD; k++) {
        let i = (group.x * WEIGHTS_PER_THREAD + k) * THREADS + thread;
        if i < params.len && is_apart(i) {
            own = join(own, Apart(1u, i));
        }
    }
    write_apart(own, group.x, thread);
}
