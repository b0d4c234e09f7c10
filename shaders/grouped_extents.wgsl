// The smallest and the largest weight of each group, as keys that order like weights. Twin of the
// `src/cpu/grouped/extents.rs`.
//
// A group is a rectangle of rows and columns; `params.lanes` threads, a power of two, share one.

var<workgroup> least: array<u32, THREADS>;
var<workgroup> greatest: array<u32, THREADS>;

// Greater for greater weights: the sign bit set for those without, all bits flipped for the others.
fn key(pattern: u32) -> u32 {
    let sign = select(0x8000u, 0x80000000u, KIND == F32);
    let all = sign | (sign - 1u);
    return select(pattern | sign, ~pattern & all, (pattern & sign) != 0u);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % params.lanes;
    let group = workgroup.x * (THREADS / params.lanes) + thread / params.lanes;
    let row = (group / params.across) * params.group_rows;
    let column = (group % params.across) * params.group_columns;
    var low = 0xFFFFFFFFu;
    var high = 0u;
    if row < params.rows {
        let height = min(params.group_rows, params.rows - row);
        let width = min(params.group_columns, params.columns - column);
        for (var k = lane; k < height * width; k += params.lanes) {
            let own = key(weight((row + k / width) * params.columns + column + k % width));
            low = min(low, own);
            high = max(high, own);
        }
    }
    least[thread] = low;
    greatest[thread] = high;

    for (var half = params.lanes / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            least[thread] = min(least[thread], least[thread + half]);
            greatest[thread] = max(greatest[thread], greatest[thread + half]);
        }
    }
    if lane == 0u && row < params.rows {
        results[2u * group] = least[thread];
        results[2u * group + 1u] = greatest[thread];
    }
}
