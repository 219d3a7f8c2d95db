# make demo    16 peers on this machine learn handwritten digits, no server
# make test    everything that is checked: style, types, tests
#
# make bench   what docs/benchmarks.md quotes, measured anew: half an hour, on a machine that does nothing else
# make reproduce DATA_DIR=DIR   the experiments of the paper and docs/results.md of them, in small: half an hour
# make soak    10,400 simulated swarms with random faults; an interrupted soak goes on where it stopped
#
# Needs Python 3.11 or newer, nothing else: what is installed goes to .venv. With a C compiler codecs are three times as fast.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MADE := $(VENV)/.installed
MADE_DEV := $(VENV)/.installed-dev
MADE_BENCH := $(VENV)/.installed-bench
C_SOURCES := marfl_peer/averaging/_kernels.c
STATE ?= marfl-state

.DEFAULT_GOAL := help
.PHONY: help install demo test style types tests docs picture dist soak soak-selftest soak-exhaustive failure-costs trials bench plots reproduce clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make style | types | tests | docs | picture | dist | soak-selftest | soak-exhaustive | failure-costs | trials | plots | clean"

install: $(MADE)

demo: $(MADE)
	$(BIN)/marfl-peer swarm --peers 16 --group-size 4 --task digits --partition dirichlet:1.0 --iterations 30 \
	  --state-dir $(STATE)/demo

test: style types tests

style: $(MADE_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(MADE_DEV)
	$(BIN)/mypy

# Two at a time, but for swarms of real processes, which need the whole machine; `pytest` alone runs all in a row.
tests: $(MADE_DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not real" --numprocesses 2 --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m real

docs: $(MADE)
	$(BIN)/python scripts/make_docs.py

picture: $(MADE)
	$(BIN)/python scripts/make_picture.py
	$(BIN)/python scripts/make_top_picture.py

# A wheel and the source that it is built from, in dist/.
dist: $(MADE_DEV)
	rm -rf build dist
	$(BIN)/python -m build --no-isolation

soak: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/soak.py --log $(STATE)/soak.jsonl

soak-selftest: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/soak_selftest.py

soak-exhaustive: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/exhaustive.py

failure-costs: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/failure_costs.py --write

# Real processes, really killed, stopped and cut off from each other (the last one needs root): an hour or more.
trials: $(MADE)
	$(BIN)/python scripts/kill_trials.py --trials 20
	$(BIN)/python scripts/resume_trials.py --kills 200
	$(BIN)/python scripts/churn_trials.py --mode kill --peers 64 --seeds 5
	$(BIN)/python scripts/churn_trials.py --mode dropout --peers 64 --seeds 5
	$(BIN)/python scripts/partition_trial.py --trials 3 --cut 30

# Links of a rate are measured only by root. `make plots` draws what was measured.
bench: $(MADE)
	$(BIN)/python scripts/make_benchmarks.py

# What has results already is not run again. DATA_DIR: the folder of MNIST and 20 Newsgroups.
reproduce: $(MADE_BENCH)
	$(BIN)/python scripts/reproduce $(if $(DATA_DIR),--data-dir $(DATA_DIR))

plots: $(MADE_BENCH)
	$(BIN)/python scripts/make_plots.py

clean:
	rm -rf $(VENV) $(STATE) build dist *.egg-info marfl_peer/averaging/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Stamps, so that what is installed already is not looked at again.

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "marfl-peer needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(MADE): $(VENV)/pyvenv.cfg pyproject.toml setup.py constraints.txt $(C_SOURCES)
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(MADE_DEV): $(VENV)/pyvenv.cfg pyproject.toml setup.py constraints.txt $(C_SOURCES)
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(MADE)

$(MADE_BENCH): $(VENV)/pyvenv.cfg pyproject.toml setup.py constraints.txt $(C_SOURCES)
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	@touch $@ $(MADE)
