#!/usr/bin/env bash
# On a machine with a GPU and no network: CUDA tests, timings, the training of all priors, studies, each a part of its own.
#
#   tools/device.sh prepare                        where there is a network: wheels to .whl/, heads by reference to .heads/
#   OUT=results tools/device.sh tests timings train 7       there: results in $OUT, the training within 7 minutes
#   OUT=results tools/device.sh studies 8 "comparison samplers"     studies; jobs that are done come back as runs.tgz.*
#
# Python there has torch, numpy, scipy, h5py, numba, scikit-image, safetensors, pytest; what else is needed comes as wheels.
# .whl (11 MB) and .heads (12 MB) are ignored by git and must be carried. Where the tree is too large for that, the weights
# that no CUDA test reads may stay behind: data/priors/{diverse,fixed_1mm,fixed_2mm,operator_1mm}.safetensors.
# A training that was cut short goes on by the same command, on the same machine; or on another, from the states of
# checkpoints.tgz.*, with the same heads and patches: train_priors ... --heads .heads --out FOLDER. PRIORS names priors
# (--all), TRAIN has more arguments. Studies go on, there or on a CPU, where runs.tgz.* is unpacked into runs/.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-_build/device}
WORK=${WORK:-/tmp/mrilab_priors}         # weights, cards, checkpoints; packed into $OUT at the end
WHEELS="sigpy PyWavelets pooch platformdirs nibabel pydantic pydantic-core annotated-types typing-inspection tqdm joblib"
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TQDM_DISABLE=1

prepare() {
    local python=${1:-.venv/bin/python} pinned=()
    for package in $WHEELS; do
        pinned+=("$package==$("$python" -c "import importlib.metadata as m; print(m.version('$package'))")")
    done
    rm -rf .whl
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp -d .whl \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_24_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "${pinned[@]}"
    PYTHONPATH=$PWD "$python" -m studies.train_priors --pack .heads
    PYTHONPATH=$PWD "$python" - << END
import shutil
from pathlib import Path
from mrilab.datasets import entry_of, fetch
from studies.scans import PEOPLE
for name in PEOPLE:
    if not Path("data", entry_of(name).file).is_file():
        copy = Path(".heads/cache", entry_of(name).file)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fetch(name), copy)
END
    git rev-parse --short HEAD > .heads/commit
    du -sh .whl .heads
}

together() {            # kernels of several processes on the card at the same time, not by turns: NVIDIA's MPS, if it runs
    local control
    control=$(command -v nvidia-cuda-mps-control || ls /usr/local/nvidia/bin/nvidia-cuda-mps-control 2> /dev/null) || return 1
    export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mps
    mkdir -p /tmp/mps
    timeout 10 "$control" -d && timeout 25 "$PYTHON" -c "import torch; torch.ones(9, device='cuda').sum().item()" && return 0
    echo quit | timeout 5 "$control"
    unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    return 1
}

mkdir -p "$OUT"
while [ $# -gt 0 ]; do
    part=$1; shift
    if [ "$part" = prepare ]; then prepare; continue; fi
    if ls .whl/*.whl > /dev/null 2>&1 && [ ! -d /tmp/site ]; then
        "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site .whl/*.whl
    fi
    export PYTHONPATH=$PWD:/tmp/site
    begin=$SECONDS
    case $part in
    tests)
        timeout 240 "$PYTHON" -m pytest -q -p no:cacheprovider -W ignore --durations=10 tests/test_cuda.py \
            > "$OUT/cuda_tests.txt" 2>&1
        tail -3 "$OUT/cuda_tests.txt" ;;
    timings)
        timeout 240 "$PYTHON" benchmarks/training.py --how ${HOW:-float32 bfloat16 recorded compiled} --batch 64 512 \
            --seconds 1.5 --json "$OUT/timings.json" 2>&1 | tail -30 ;;
    train)
        minutes=$1; shift
        [ -n "${CUDA_MPS_PIPE_DIRECTORY:-}" ] || together && echo "side by side" || echo "by turns"
        timeout "$("$PYTHON" -c "print(int(60 * $minutes + 15))")" "$PYTHON" -m studies.train_priors ${PRIORS:---all} \
            --minutes "$minutes" --heads .heads --out "$WORK" ${TRAIN:-} > "$OUT/train.log" 2>&1
        tail -12 "$OUT/train.log"
        cp "$WORK/report.json" "$OUT/" 2> /dev/null
        # what came of it in files below 16 MiB: weights with their cards, and the state of what is not finished
        (cd "$WORK" && tar cf - ./*.safetensors ./*.json) | split -b 15M - "$OUT/priors.tar."
        (cd "$WORK" && ls ./*.checkpoint > /dev/null 2>&1 && tar czf - $(ls -tr ./*.checkpoint)) |
            split -b 15M - "$OUT/checkpoints.tgz." ;;
    studies)
        minutes=$1 names=$2; shift 2
        [ -n "${CUDA_MPS_PIPE_DIRECTORY:-}" ] || together && echo "side by side" || echo "by turns"
        mkdir -p "$OUT/results"
        MRILAB_CACHE=$PWD/.heads/cache MRILAB_COMMIT=$(cat .heads/commit) timeout "$((60 * minutes))" "$PYTHON" \
            -m studies $names --device cuda --jobs "${JOBS:-8}" --out "$OUT/results" > "$OUT/studies.log" 2>&1
        tail -c 2000 "$OUT/studies.log"
        tar czf - runs | split -b 15M - "$OUT/runs.tgz." ;;
    *)
        echo "$part: expected prepare, tests, timings, train MINUTES or studies MINUTES NAMES"; exit 1 ;;
    esac
    echo "$part: $((SECONDS - begin)) s"
done
ls -la "$OUT"
