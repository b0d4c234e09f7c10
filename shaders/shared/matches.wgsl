// Weights that are apart from what codes stand for: how many, and the first of them.

struct Apart {
    count: u32,
    first: u32,
}

const NONE: Apart = Apart(0u, 0xFFFFFFFFu);

var<workgroup> aparts: array<Apart, THREADS>;

fn join(a: Apart, b: Apart) -> Apart {
    return Apart(a.count + b.count, min(a.first, b.first));
}

// Adds up what the threads of a workgroup have, for the host.
fn write_apart(own: Apart, workgroup: u32, thread: u32) {
    aparts[thread] = own;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            aparts[thread] = join(aparts[thread], aparts[thread + half]);
        }
    }
    if thread == 0u {
        results[2u * workgroup] = aparts[0].count;
        results[2u * workgroup + 1u] = aparts[0].first;
    }
}
