#!/bin/sh
# Build the kernels with AddressSanitizer, UBSan and their own checks, and run the kernel tests on
# that build, for each set of instructions.
#
#     scripts/sanitize.sh [PYTHON=python3] [TEST...]
#
# Needs gcc or clang with its sanitizer libraries. The build goes into a virtual environment of its
# own, which sees the packages of PYTHON. Sanitizers speak to standard error, so pytest
# must not capture it.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-python3}
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$python" -c 'import sys, sysconfig; print("\n".join(p for p in sys.path if p.endswith("-packages")))' \
    > "$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth"
"$work/venv/bin/python" -m pip install -q --no-build-isolation --no-deps --ignore-installed \
    -C "build-dir=$work/build" -C cmake.define.NGCORE_SANITIZE=ON -C cmake.define.NGCORE_CHECKED=ON \
    "$here"

cc=${CC:-cc}
LD_PRELOAD="$($cc -print-file-name=libasan.so) $($cc -print-file-name=libubsan.so)"
export LD_PRELOAD
# Python itself leaks at exit; an interpreter's pool would hide overruns of small objects.
export ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
cd "$here"
[ $# -gt 0 ] || set -- tests/test_compressed_segmentation.py tests/test_downsampling.py \
    tests/test_kernel_instructions.py tests/arrays/test_chunk_copy.py \
    tests/arrays/test_simplification.py tests/arrays/test_triangles.py
for simd in baseline auto; do
    NGCORE_SIMD=$simd "$work/venv/bin/python" -m pytest -q -p no:cacheprovider --capture=no "$@"
done
