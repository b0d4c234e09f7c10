#!/bin/bash
# Puts the parts that slurm-part.sh has made together. It wants the same MODEL, OUT and ARGS.
#
#SBATCH --job-name=quantscope-finish
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
set -euo pipefail

# ARGS is several words.
# shellcheck disable=SC2086
exec "${QUANTSCOPE:-quantscope}" --batch "$MODEL" --out "$OUT" ${ARGS:-} --finish
