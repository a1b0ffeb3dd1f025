# `make` lists the targets. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
LOCK := $(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --quiet
TEST_ENV := env -u REDIS_URL -u CELERY_BROKER_URL

.DEFAULT_GOAL := help

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(INSTALLED): constraints.txt setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

install: $(INSTALLED)  ## Install into .venv, pinned and hashed

up: install  ## Everything on this machine, with three demo agents and a task through them
	$(BIN)/aitbc up --demo

test: install  ## All tests (what needs a system package is installed by the tests' own script)
	bash tests/install-system-packages
	$(TEST_ENV) $(BIN)/coverage erase
	$(TEST_ENV) $(BIN)/coverage run -m pytest -n 4 --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

unit: install  ## Unit tests alone: no Redis, no network
	$(BIN)/pytest -q tests/unit tests/architecture

test-faults: install  ## The slow rows of the fault matrix too: away for 60 s, frozen, cut (15 minutes)
	bash tests/install-system-packages
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile tests/faults/test_*.py tests/faults/slow_*.py

mutants: install  ## Break the protocol on purpose: each breakage must be noticed (10 minutes)
	$(BIN)/python -m tests.mutants

soak: install  ## Random kill -9 under load: make soak MINUTES=30 SEED=7
	$(BIN)/python -m tests.faults.soak $(or $(MINUTES),5) $(SEED)

lint: install  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

fmt: install  ## Format, and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: install  ## mypy, strict
	$(BIN)/mypy aitbc celeryconfig.py docs/generate.py bench/sizes.py

layers: install  ## A room imports only from rooms below it
	$(BIN)/lint-imports

docs: install  ## Write the generated pages: docs/settings.md, docs/keys.md, .env.example
	$(BIN)/python -m docs.generate

verify: install  ## The generated pages are fresh, the wheel holds the Lua
	$(BIN)/pytest -q tests/architecture

check: test lint types layers  ## All that .ci/run runs
	$(BIN)/python -m bench.sizes

$(BENCH_INSTALLED): $(INSTALLED) constraints-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt -r constraints-bench.txt
	touch $@

bench: $(BENCH_INSTALLED)  ## Measure beside Celery, taskiq, dramatiq and no queue at all; writes docs/bench (25 minutes)
	bash tests/install-system-packages
	$(TEST_ENV) $(BIN)/python -m bench --write

bench-quick: $(BENCH_INSTALLED)  ## Full chain beside the no-op and the bare loop (2 minutes)
	$(TEST_ENV) $(BIN)/python -m bench quick

lock: install  ## Pin every dependency anew: constraints.txt, and in constraints-bench.txt what only the bench needs
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(LOCK) --extra dev --extra embedded -o constraints.txt
	$(LOCK) --extra bench -c constraints.txt $$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' constraints.txt) -o constraints-bench.txt

.PHONY: help install up test unit test-faults mutants soak lint fmt types layers docs verify check bench bench-quick lock
