#!/bin/sh
# Fuzz both compressed_segmentation decoders with libFuzzer, AddressSanitizer and UBSan.
#
#     scripts/fuzz.sh [SECONDS=600] [WORK_FOLDER]
#
# NGCORE_FUZZ_LABELS=32 or 64 keeps to one of the decoders.
# Needs clang, and a Python with ngcore (PYTHON, default python3) to make the first inputs.
set -eu
seconds=${1:-600}
work=${2:-$(mktemp -d)}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

"$python" "$here/tests/fuzz/make_corpus.py" "$work/corpus"
${CLANG:-clang} -g -O1 -std=c11 -DNGCORE_CHECKED=1 \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I "$here/src/ngcore/csrc" "$here/tests/fuzz/fuzz_decode.c" -o "$work/fuzz_decode"
cd "$work"
exec ./fuzz_decode -max_total_time="$seconds" -max_len=65536 -print_final_stats=1 \
    -timeout=5 corpus
