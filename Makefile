# make demo   watch the whole loop on this machine
# make test   what a newcomer runs: a few minutes, nothing to install beforehand
.DEFAULT_GOAL := help
.PHONY: help setup setup-all demo up test test-all lint types contracts check bench simulate faults lock clean

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .venv/bin/uv)
BIN := .venv/bin
WORKERS ?= 2

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/bin/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	@if command -v uv >/dev/null; then uv venv -q --python "$$(command -v $(PYTHON))" .venv; \
	else $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q --require-hashes -r requirements/uv.txt; fi

.venv/.test: requirements/test.txt pyproject.toml | .venv/bin/python
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements/test.txt
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/.all: requirements/all.txt .venv/.test
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements/all.txt
	@touch $@

setup: .venv/.test  ## .venv with hash-pinned dependencies, embedded PostgreSQL included

setup-all: .venv/.all  ## what test-all needs beside it

demo: setup  ## the whole loop on a simulated shop, told in about 90 seconds
	@$(BIN)/attune demo

up: setup  ## the stack on this machine, until Ctrl-C
	@$(BIN)/attune up

test: setup  ## the tests that need nothing but Python
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not extra"

test-all: setup-all  ## what needs Helm's SDK, oracle libraries, Prometheus or chromium
	@$(BIN)/pytest -m "slow or extra"

lint: setup  ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup  ## mypy --strict
	@$(BIN)/mypy

contracts: setup  ## who may import whom
	@$(BIN)/lint-imports

check: lint types contracts  ## all three

bench: setup  ## measurements at a tenth of the size; FULL=1 for the full size, which writes docs/benchmarks.md
	@$(BIN)/python -m tests.bench $(if $(FULL),--full,)

simulate: setup  ## the long simulations, which write docs/validation.md
	@$(BIN)/python -m tests.simulation --write docs/validation.md

faults: setup  ## the long run of killed processes, with the negative control
	@ATTUNE_FAULTS=full $(BIN)/pytest tests/faults

lock: setup  ## pin what requirements/*.in allow
	@for each in run test all uv; do $(UV) pip compile -q --upgrade --generate-hashes --no-header --no-annotate --universal \
	  --python-version 3.11 requirements/$$each.in -o requirements/$$each.txt; done

clean:  ## remove what make made
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
