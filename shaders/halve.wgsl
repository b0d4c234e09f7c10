// A grid of cells half as high and half as wide, with the largest of each word. Twin of
// `src/cpu/halve.rs`.

// Words of a cell.
const WORDS: u32 = 3u;

fn word(i: u32) -> u32 {
    let pair = weights[i / 2u];
    return select(pair.x, pair.y, i % 2u == 1u);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.len {
        return;
    }
    let half = (params.columns + 1u) / 2u;
    let row = id.x / half * 2u;
    let column = id.x % half * 2u;
    var cell = vec3(0u);
    for (var r = row; r < min(row + 2u, params.rows); r++) {
        for (var c = column; c < min(column + 2u, params.columns); c++) {
            let at = (r * params.columns + c) * WORDS;
            cell = max(cell, vec3(word(at), word(at + 1u), word(at + 2u)));
        }
    }
    for (var k = 0u; k < WORDS; k++) {
        results[id.x * WORDS + k] = cell[k];
    }
}
