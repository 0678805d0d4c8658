#!/bin/sh
# Fuzz what reads files with Atheris, which guides its inputs by the coverage of the Python code.
#
#     scripts/fuzz_readers.sh [SECONDS=600] [TARGET...]
#
# TARGETs are those of tests/fuzz/targets.py; default all, one after the other. What is found, and
# the inputs that reached new code, are left in the folder $NGCORE_FUZZ_WORK (default build/fuzz).
# Needs Linux, and a Python 3.11 to 3.13 (PYTHON, default python3) with ngcore[all], the group
# `test` and the group `fuzz`.
set -eu
seconds=${1:-600}
[ $# = 0 ] || shift
here=$(cd "$(dirname "$0")/.." && pwd)
work=${NGCORE_FUZZ_WORK:-$here/build/fuzz}
python=${PYTHON:-python3}
[ $# != 0 ] || set -- info shards meshes labels chunks nifti tiff volumes

for target; do
    mkdir -p "$work/$target/corpus"
    cd "$work/$target"
    echo "== $target, $seconds s, in $work/$target"
    "$python" "$here/tests/fuzz/run_target.py" "$target" -max_total_time="$seconds" corpus \
        >log 2>&1 || { grep -v Instrumenting log | tail -40; exit 1; }
    grep stat::number_of_executed_units log
done
