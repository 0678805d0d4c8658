# Two commands set everything up: `make demo` shows a brain, `make test` runs the tests.
# Both make a virtual environment, build the wheel and install it.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

# tests/conftest.py says which tests go to one worker, and in which order.
WORKERS := -n 3 --dist loadfile --no-loadscope-reorder

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

SOURCES := pyproject.toml CMakeLists.txt README.md $(shell find src -type f -not -name '*.pyc')
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Modules are compiled when they are first imported, and kept. pip would compile all of every package,
# which takes longer than the rest of an installation, and most of them are never imported.
INSTALL := $(PIP) install --quiet --no-compile
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo docs test test-thorough lint format bench bench-kernels bench-convert wheel wheels smoke checked sanitize fuzz clean

help:
	@echo "make demo           a real brain, its tissues and surfaces: convert, check, say how to look"
	@echo "make test           build, install and run the test suite"
	@echo "make test-thorough  the same tests with larger numbers"
	@echo "make lint           ruff, mypy, stubtest, cython-lint, import-linter, codespell, workflows, recipe"
	@echo "make docs           the site in build/site, strict; open build/site/index.html"
	@echo "make bench          every comparison with a peer in one table, some minutes"
	@echo "make bench-kernels  kernels side by side with their peers: docs/benchmarks-kernels.md"
	@echo "make bench-convert  whole conversions beside their peers, their stages and memory"
	@echo "make wheel          build dist/*.whl"
	@echo "make wheels         Linux wheels for x86_64, aarch64 and musl in dist/wheels, audited and tested"
	@echo "make smoke          the wheel with the oldest and the newest versions of what it needs"
	@echo "make checked        the suite on kernels built with every check on"
	@echo "make sanitize       the kernel tests under AddressSanitizer and UBSan"
	@echo "make fuzz           coverage-guided fuzzing of everything that reads bytes (SECONDS=600 each)"

$(VENV)/made:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	touch $@

# One wheel serves every Python: its tag must say abi3.
dist/made: $(SOURCES) | $(VENV)/made
	rm -rf dist
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .
	ls dist/*-abi3-*.whl
	touch $@

$(VENV)/installed: $(VENV)/made dist/made
	$(INSTALL) "$$(ls dist/*.whl)[all]"
	$(INSTALL) --force-reinstall --no-deps dist/*.whl
	touch $@

$(VENV)/test-installed: $(VENV)/installed
	$(INSTALL) --group test
	$(INSTALL) --no-deps --group demo
	touch $@

wheel: dist/made

# scripts/wheels.sh says which Debian packages the cross-compilers and qemu are in.
wheels: $(VENV)/test-installed
	$(INSTALL) --group wheels
	PYTHON="$(abspath $(BIN))/python" sh scripts/wheels.sh

smoke: dist/made
	PYTHON="$(PYTHON)" sh scripts/smoke.sh

demo: $(VENV)/installed
	$(INSTALL) --no-deps --group demo
	$(BIN)/python scripts/demo.py

test: $(VENV)/test-installed
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

test-thorough: $(VENV)/test-installed
	$(INSTALL) --group thorough
	NGCORE_THOROUGH=1 $(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

lint: $(VENV)/installed
	$(INSTALL) --group lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src
	$(BIN)/codespell
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml \
		.github/ISSUE_TEMPLATE/idea.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/python scripts/check_recipe.py
	$(BIN)/mypy
	$(BIN)/stubtest ngcore._encode ngcore._downsample ngcore._simplify
	$(BIN)/lint-imports

# A dead link, an orphan page or a missing name in the reference is an error.
docs: $(VENV)/installed
	$(INSTALL) --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: $(VENV)/made
	$(INSTALL) --group lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/installed
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks

bench-kernels: $(VENV)/installed
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks.report_kernels

bench-convert: $(VENV)/installed
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks.report_convert
	$(BIN)/python -m benchmarks.report_stages
	$(BIN)/python -m benchmarks.report_memory
	$(BIN)/python -m benchmarks.report_validate
	$(BIN)/python -m benchmarks.report_slices

# A wheel of kernels that check every index and assert every bound.
build/checked/made: $(SOURCES) | $(VENV)/made
	rm -rf build/checked/dist
	$(PIP) wheel --quiet --no-deps --wheel-dir build/checked/dist \
		--config-settings=cmake.define.NGCORE_CHECKED=ON \
		--config-settings=build-dir=build/checked/cmake .
	rm -rf build/checked/package
	$(INSTALL) --no-deps --target build/checked/package build/checked/dist/*.whl
	touch $@

# The same suite on them, found before the wheel that is installed, which stays as it is.
checked: $(VENV)/test-installed build/checked/made
	PYTHONPATH="$(abspath build/checked/package)" $(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

sanitize: $(VENV)/test-installed
	sh scripts/sanitize.sh $(BIN)/python

# Atheris for what is Python, libFuzzer for the decoders in C.
SECONDS ?= 600
fuzz: $(VENV)/test-installed
	$(INSTALL) --group fuzz
	PYTHON="$(abspath $(BIN))/python" sh scripts/fuzz_readers.sh $(SECONDS)
	PYTHON="$(abspath $(BIN))/python" sh scripts/fuzz.sh $(SECONDS)

clean:
	rm -rf build dist demo .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
