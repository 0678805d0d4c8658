#!/bin/sh
# Every check of the code itself, with the tools of the group `lint`: see `make lint`.
set -ex
ruff check
ruff format --check
cython-lint src
codespell
zizmor --offline --quiet .github
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml \
    .github/ISSUE_TEMPLATE/idea.yml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
python scripts/check_recipe.py
mypy
stubtest ngcore._encode ngcore._downsample ngcore._simplify
lint-imports
