#!/bin/sh
# Draws the pictures of the readme: make_screenshots.sh CHECKPOINT, with a dense model of some layers.
set -eu
cd "$(dirname "$0")/.."
model=$1
draw() {
    name=$1 view=$2
    shift 2
    cargo run --release --quiet -- --screenshot "assets/screenshots/$name.png" --view "$view" --format nvfp4 \
        "$model" --size 1360x820 "$@"
}
mkdir -p assets/screenshots
draw map-dark map --quantize-embeddings
draw table-light table --light
draw profile-dark profile --quantize-embeddings
draw files-light files --light
draw export-dark export --quantize-embeddings
draw formats-dark formats
tensor=model.layers.3.mlp.down_proj.weight
draw microscope-dark microscope --select "$tensor" --block 12,1
draw ruler-light ruler --light --select "$tensor" --block 12,1
draw scales-light scales --light --select "$tensor" --block 12,1
