# The contributor's manual: `make help` lists what can be done; CI calls the same targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-bare book handout bench peers check lint format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: .venv/installed  ## set everything up and train a network on Iris
	$(BIN)/ch12 train

test: .venv/installed  ## set everything up and run the tests (under five minutes)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-slow: .venv/installed  ## run every test, the long batteries and those in a browser too (they need chromium: apt-get install chromium)
	$(BIN)/python -m pytest

test-bare: .venv/installed  ## run the tests in an ASCII locale, with a read-only HOME, without a network (Linux, root)
	HOME=/proc LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 unshare --net \
	  $(BIN)/python -m pytest -m "not slow" -p no:cacheprovider

book: .venv/installed  ## run the chapter's 28 items and check every figure that it prints
	$(BIN)/ch12 book --check

handout: .venv/installed  ## write the chapter as a hand-out: outputs/chapter12.html, .ipynb and .md
	@mkdir -p outputs
	$(BIN)/ch12 book --format html -o outputs/chapter12.html
	$(BIN)/ch12 book --format ipynb -o outputs/chapter12.ipynb
	$(BIN)/ch12 book --format md -o outputs/chapter12.md

bench: .venv/installed  ## measure speed against peers, in one run on this machine; some: make bench BENCH="step sweep"
	$(BIN)/python -m tests.benchmarks $(BENCH)

peers: .venv/installed  ## set up the peers that `make bench` compares with, in .venv-peers
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install -q -c constraints.txt hatchling editables setuptools
	.venv-peers/bin/pip install -q -c constraints.txt --no-build-isolation -e '.[bench]'

check: lint  ## lint, formatting and types
	$(BIN)/mypy

lint: .venv/installed  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed  ## ruff: mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environments and what tools left (never outputs/)
	rm -rf .venv .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './outputs/*' -prune -exec rm -rf {} +

# The environment is made once, and again when the list of what it holds changes.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt hatchling editables setuptools
	$(BIN)/pip install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@
