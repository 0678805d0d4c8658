#!/bin/sh
# Installs the wheel with the oldest versions of all base dependencies that pyproject.toml allows, and
# with the newest, each in an environment of its own, and uses it. `PYTHON=python3 sh scripts/smoke.sh`.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheel=$(ls dist/*-abi3-*.whl | head -n 1)
oldest=$("$python" -c '
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*(line.replace(">=", "==") for line in project["dependencies"]))
')
for which in oldest newest; do
    echo "== $which"
    venv=build/smoke/$which
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pins=$([ $which = oldest ] && echo "$oldest" || true)
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-compile "$wheel" $pins
    "$venv/bin/python" -W error scripts/smoke.py "$venv/volumes"
    "$venv/bin/ngcore" --version --verbose
done
