# `make demo` shows a brain, `make test` runs the tests; each builds the wheel and installs it first.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
SECONDS ?= 600

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY := $(abspath $(BIN))/python
SOURCES := pyproject.toml CMakeLists.txt README.md $(shell find src -type f -not -name '*.pyc')
WHEEL = $(PY) -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir
# Modules are compiled when they are first imported, and kept: most of all packages never are.
INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet --no-compile
export PYTHONDONTWRITEBYTECODE :=
# tests/conftest.py says which tests go to one worker, and in which order.
PYTEST = $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: help demo test test-thorough test-base lint format docs bench bench-kernels bench-convert \
	wheel wheels smoke checked sanitize fuzz clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s%s\n", $$1, $$2}' Makefile

$(VENV)/made:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	touch $@

# One wheel serves every Python: its tag must say abi3.
dist/made: $(SOURCES) | $(VENV)/made
	rm -rf dist
	$(WHEEL) dist .
	ls dist/*-abi3-*.whl
	touch $@

$(VENV)/installed: $(VENV)/made dist/made
	$(INSTALL) "$$(ls dist/*.whl)[all]"
	$(INSTALL) --force-reinstall --no-deps dist/*.whl
	touch $@

# A group of dependencies of pyproject.toml beside the wheel.
$(VENV)/with-%: $(VENV)/installed
	$(INSTALL) --group $*
	touch $@

$(VENV)/with-demo: $(VENV)/installed
	$(INSTALL) --no-deps --group demo
	touch $@

$(VENV)/with-test: $(VENV)/installed
	$(INSTALL) --group test
	$(INSTALL) --no-deps --group demo
	touch $@

# Kernels that check every index and assert every bound.
build/checked/made: $(SOURCES) | $(VENV)/made
	rm -rf build/checked/dist build/checked/package
	$(WHEEL) build/checked/dist --config-settings=cmake.define.NGCORE_CHECKED=ON \
		--config-settings=build-dir=build/checked/cmake .
	$(INSTALL) --no-deps --target build/checked/package build/checked/dist/*.whl
	touch $@

demo: $(VENV)/with-demo  ## a real brain, its tissues and surfaces: convert, check, say how to look
	$(PY) scripts/demo.py

test: $(VENV)/with-test  ## build, install and run the test suite
	$(PYTEST)

test-thorough: $(VENV)/with-test $(VENV)/with-thorough  ## the same tests with larger numbers
	NGCORE_THOROUGH=1 $(PYTEST)

test-base: $(VENV)/made dist/made  ## kernels and conversions without extras; VENV must be its own
	$(INSTALL) dist/*.whl hypothesis pytest
	$(INSTALL) --force-reinstall --no-deps dist/*.whl
	$(PY) -m pytest tests/test_downsampling.py tests/test_compressed_segmentation.py tests/arrays \
		tests/cli/test_convert.py

lint: $(VENV)/with-lint  ## ruff, mypy, stubtest, cython-lint, import-linter, codespell, workflows, recipe
	PATH="$(abspath $(BIN)):$$PATH" sh scripts/lint.sh

format: $(VENV)/with-lint  ## let ruff fix and format
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

docs: $(VENV)/with-docs  ## the site in build/site, strict; open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

bench: $(VENV)/with-bench  ## every comparison with a peer in one table, some minutes
	$(PY) -m benchmarks

bench-kernels: $(VENV)/with-bench  ## kernels beside their peers: docs/benchmarks-kernels.md
	$(PY) -m benchmarks.report_kernels

bench-convert: $(VENV)/with-bench  ## conversions beside their peers, their stages and memory
	set -e; for part in convert stages memory validate slices; do $(PY) -m benchmarks.report_$$part; done

wheel: dist/made  ## dist/*.whl

wheels: $(VENV)/with-test $(VENV)/with-wheels  ## for Linux on x86_64, aarch64 and musl, audited and tested
	PYTHON="$(PY)" sh scripts/wheels.sh

smoke: dist/made  ## the wheel with the oldest and the newest versions of what it needs
	PYTHON="$(PYTHON)" sh scripts/smoke.sh

checked: $(VENV)/with-test build/checked/made  ## the suite on kernels built with every check on
	PYTHONPATH="$(abspath build/checked/package)" $(PYTEST)

sanitize: $(VENV)/with-test  ## the kernel tests under AddressSanitizer and UBSan
	sh scripts/sanitize.sh $(PY)

fuzz: $(VENV)/with-test $(VENV)/with-fuzz  ## what reads bytes, guided by coverage (SECONDS=600 each)
	PYTHON="$(PY)" sh scripts/fuzz_readers.sh $(SECONDS)
	PYTHON="$(PY)" sh scripts/fuzz.sh $(SECONDS)

clean:  ## all that was made
	rm -rf build dist demo .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
