# `make` lists the targets. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
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

bench: install  ## Full chain beside a bare Celery no-op; µs of the ledger's steps and of a call to an agent (a few minutes)
	$(BIN)/python -m bench.chain
	$(BIN)/python -m bench.dispatch
	$(BIN)/python -m bench.ledger

lock: install  ## Pin every dependency anew into constraints.txt
	$(BIN)/uv pip compile setup.cfg --extra dev --extra embedded --universal --python-version 3.11 --generate-hashes --quiet -o constraints.txt

.PHONY: help install up test unit test-faults mutants soak lint fmt types layers docs verify check bench lock
