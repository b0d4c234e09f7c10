#!/bin/sh
# Draws the pictures of the readme: make_screenshots.sh CHECKPOINT, with a dense model of some layers.
set -eu
cd "$(dirname "$0")/.."
model=$1
draw() {
    cargo run --release --quiet -- --screenshot "assets/screenshots/$1.png" --view "$2" --format nvfp4 \
        "$model" --size 1360x820 "$3"
}
mkdir -p assets/screenshots
draw map-dark map --quantize-embeddings
draw table-light table --light
draw profile-dark profile --quantize-embeddings
draw files-light files --light
draw export-dark export --quantize-embeddings
