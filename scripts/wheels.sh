#!/bin/sh
# Builds the wheels for Linux into dist/wheels, audits them, and runs the kernel tests on those that
# can run here: x86_64 as it is, aarch64 under qemu-user. `PYTHON=.venv/bin/python sh scripts/wheels.sh`
# needs the dependency groups `wheels` and `test`, and of Debian: gcc-aarch64-linux-gnu
# libc6-dev-arm64-cross musl-tools qemu-user. What is missing is passed over, and said.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
bin=$(dirname "$(command -v "$python")")
PATH="$bin:$PATH"
out=dist/wheels
work=build/wheels
rm -rf "$out" "$work/raw"
mkdir -p "$out" "$work/raw"
tests="tests/test_compressed_segmentation.py tests/test_downsampling.py tests/arrays"

# build NAME COMPILER PROCESSOR: one wheel by one compiler; abi3 headers are the same everywhere.
build() {
    echo "== $1: build"
    _PYTHON_HOST_PLATFORM="linux-$3" "$python" -m pip wheel --quiet --no-deps ${WHEEL_FLAGS:-} \
        --wheel-dir "$work/raw/$1" \
        --config-settings=cmake.define.CMAKE_SYSTEM_NAME=Linux \
        --config-settings=cmake.define.CMAKE_SYSTEM_PROCESSOR="$3" \
        --config-settings=cmake.define.CMAKE_C_COMPILER="$2" \
        --config-settings=build-dir="$work/$1" .
}
has() { command -v "$1" >/dev/null || { echo "== passed over: no $1 ($2)"; return 1; }; }

build x86_64 gcc x86_64
auditwheel repair --plat manylinux2014_x86_64 -w "$out" "$work"/raw/x86_64/*.whl
if has aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu; then
    build aarch64 aarch64-linux-gnu-gcc aarch64
    auditwheel repair --plat auto -w "$out" "$work"/raw/aarch64/*.whl
    ls "$out"/*manylinux2014_aarch64*.whl
fi
if has musl-gcc musl-tools; then
    build musl musl-gcc x86_64
    # Debian's musl-gcc calls the library libc.so, Alpine libc.musl-x86_64.so.1.
    rm -rf "$work/unpacked"
    "$python" -m wheel unpack --dest "$work/unpacked" "$work"/raw/musl/*.whl
    patchelf --replace-needed libc.so libc.musl-x86_64.so.1 "$work"/unpacked/*/ngcore/*.so
    "$python" -m wheel pack --dest-dir "$work/unpacked" "$work"/unpacked/*
    "$python" -m wheel tags --remove --platform-tag musllinux_1_2_x86_64 "$work"/unpacked/*.whl
    mv "$work"/unpacked/*.whl "$out"
fi

echo "== nothing beyond the limited API"
abi3audit --strict --assume-minimum-abi3 3.11 "$out"/*.whl

echo "== x86_64: kernel tests"
unpack() { rm -rf "$2"; "$python" -m zipfile -e "$1" "$2"; }
unpack "$(ls "$out"/*manylinux*x86_64.whl)" "$work/x86_64-site"
export PYTHONPATH="$work/x86_64-site"
"$python" -c 'import ngcore, sys; sys.exit("site" not in ngcore.__file__)' # and not an installation in place
"$python" -m pytest -q -p no:cacheprovider $tests

[ -f "$(ls "$out"/*aarch64.whl 2>/dev/null)" ] && has qemu-aarch64 qemu-user || exit 0
echo "== aarch64: kernel tests under qemu"
# Debian's Python for arm64, beside the system and not in it.
arm="$PWD/$work/arm64"
if [ ! -x "$arm/root/usr/bin/python3.11" ]; then
    mkdir -p "$arm/state/lists/partial" "$arm/cache/archives/partial" "$arm/debs" "$arm/root"
    : >"$arm/status"
    arm_apt="apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State=$arm/state
        -o Dir::State::status=$arm/status -o Dir::Cache=$arm/cache"
    $arm_apt update
    (cd "$arm/debs" && $arm_apt download python3.11-minimal libpython3.11-minimal libpython3.11-stdlib \
        libc6 libssl3 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libgcc-s1 libstdc++6 \
        libuuid1)
    for package in "$arm"/debs/*.deb; do dpkg -x "$package" "$arm/root"; done
fi
[ -d "$arm/site" ] || "$python" -m pip install --quiet --target "$arm/site" --only-binary=:all: \
    --implementation cp --python-version 3.11 --platform manylinux2014_aarch64 \
    --platform manylinux_2_28_aarch64 numpy hypothesis pytest nibabel
unpack "$(ls "$out"/*aarch64.whl)" "$work/aarch64-site"
PYTHONPATH="$work/aarch64-site:$arm/site" qemu-aarch64 -L "$arm/root" "$arm/root/usr/bin/python3.11" \
    -m pytest -q -p no:cacheprovider $tests
