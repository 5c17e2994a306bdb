# The contributor's manual: `make help` lists the targets. Continuous integration calls the same targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DEVICE ?= cuda
OUT ?= outputs/gpu
PIP_INSTALL := $(BIN)/pip install -q -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-bare test-cluster coverage docs reference book handout gallery bench gpu peers check lint format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: .venv/runtime  ## install what running needs, and train a network on Iris
	$(BIN)/ch12 train

test: export PYTHONDONTWRITEBYTECODE =  # what tests start is compiled once
test: .venv/installed  ## install what testing needs, and run the tests (about five minutes on two cores)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-slow: .venv/installed  ## run every test, the long ones and those in a browser too (which needs chromium and npm)
	[ -d build/npm/node_modules/axe-core ] || ! command -v npm > /dev/null || npm install -s --prefix build/npm axe-core@4.14.1
	$(BIN)/python -m pytest -n auto --dist worksteal

test-bare: .venv/installed  ## run the tests in an ASCII locale, with a read-only HOME, without a network (Linux, root)
	HOME=/proc XDG_CACHE_HOME=$(CURDIR)/build/cache LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 unshare --net \
	  sh -c 'ip link set lo up && exec $(BIN)/python -m pytest -m "not slow" -p no:cacheprovider -n auto'

test-cluster: .venv/installed  ## run the tests of clusters, after installing Slurm, Dask and loky (Debian, root)
	command -v slurmd sbatch munged > /dev/null || apt-get install -y --no-install-recommends slurm-wlm munge
	$(PIP_INSTALL) --no-build-isolation -e '.[cluster]'
	$(BIN)/python -m pytest tests/engines

coverage: .venv/installed  ## run the tests of `make test` and print the lines that they do not reach
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal --cov --cov-report=term-missing

docs: .venv/docs reference build/gallery/index.html  ## build the documentation: build/docs/index.html; warnings are errors
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -b html docs build/docs
	rm -rf build/docs/gallery && cp -r build/gallery build/docs/gallery

reference: .venv/runtime  ## write the reference pages of the documentation from the source
	$(BIN)/python docs/generate.py

book: .venv/runtime  ## run the chapter's 28 items and check every printed figure
	$(BIN)/ch12 book --check

handout: .venv/runtime  ## write the chapter as a hand-out: outputs/chapter12.html, .ipynb and .md
	@mkdir -p outputs
	$(BIN)/ch12 book --format html -o outputs/chapter12.html
	$(BIN)/ch12 book --format ipynb -o outputs/chapter12.ipynb
	$(BIN)/ch12 book --format md -o outputs/chapter12.md

bench: .venv/installed  ## measure speed against peers, in one run on this machine; some: make bench BENCH="step sweep"
	$(BIN)/python -m tests.benchmarks $(BENCH)

gallery: .venv/installed  ## draw the hard cases of plots, check their texts, and write docs/reference/gallery.md
	$(BIN)/python -m tests.gallery build/gallery --docs

build/gallery/index.html: .venv/installed $(wildcard ch12cli/plots/*.py tests/gallery/*.py)
	$(BIN)/python -m tests.gallery build/gallery

gpu: $(if $(filter none,$(ENV)),,.venv/installed)  ## show what works on a GPU, in under seven minutes; make gpu DEVICE=cpu rehearses it
	$(if $(filter none,$(ENV)),$(PYTHON),$(BIN)/python) -m tests.gpu --device $(DEVICE) --out $(OUT)

peers: .venv/installed  ## install the peers that `make bench` compares with, in .venv-peers
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install -q -c constraints.txt hatchling editables setuptools
	.venv-peers/bin/pip install -q -c constraints.txt --no-build-isolation -e '.[bench]'

check: lint  ## check rules, formatting, spelling and types
	$(BIN)/mypy

lint: .venv/installed  ## check rules and formatting (ruff) and spelling (codespell)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

format: .venv/installed  ## apply the corrections that ruff can make
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environments and what tools left (never outputs/)
	rm -rf .venv .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './outputs/*' -prune -exec rm -rf {} +

# The environment grows in steps: what running needs, what testing needs, what the documentation needs.
# Each step is repeated when the list of packages changes.
.venv/runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) hatchling editables setuptools
	$(PIP_INSTALL) --no-build-isolation -e .
	@touch $@

.venv/installed: .venv/runtime
	$(PIP_INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@

.venv/docs: .venv/runtime
	$(PIP_INSTALL) --no-build-isolation -e '.[docs]'
	@touch $@
