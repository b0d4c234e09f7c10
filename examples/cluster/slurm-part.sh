#!/bin/bash
# One part of an export, as a task of a Slurm job array. All tasks write beside $OUT, on a disk that they share:
#
#   export MODEL=/models/llama OUT=/models/llama-nvfp4 ARGS="--format nvfp4 --max-shard-size 5GB"
#   export PARTS=8
#   parts=$(sbatch --parsable --array=1-$PARTS slurm-part.sh)
#   sbatch --dependency=afterok:$parts slurm-finish.sh
#
# A part that is missing is made with --array=3, say, and the same PARTS.
#
#SBATCH --job-name=quantscope-part
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --requeue
set -euo pipefail

# A task that was preempted and is queued again goes on where it was.
# ARGS is several words.
# shellcheck disable=SC2086
exec "${QUANTSCOPE:-quantscope}" --batch "$MODEL" --out "$OUT" ${ARGS:-} --resume \
    --part "$SLURM_ARRAY_TASK_ID/$PARTS"
