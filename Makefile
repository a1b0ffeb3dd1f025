# `make` lists the targets. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
LOCK := $(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --quiet
# Options of LOCK that leave out what these files hold already.
PINNED := sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p'
TEST_ENV := env -u REDIS_URL -u CELERY_BROKER_URL

.DEFAULT_GOAL := help

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(INSTALLED): constraints.txt constraints-dev.txt setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt -r constraints-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

install: $(INSTALLED)  ## Install into .venv, pinned and hashed

up: install  ## Everything on this machine, with three demo agents and a task through them
	$(BIN)/aitbc up --demo

test: install  ## All tests (what needs a system package is installed by the tests' own script)
	bash tests/install-system-packages
	$(TEST_ENV) $(BIN)/coverage erase
	$(TEST_ENV) $(BIN)/coverage run -m pytest -n 4 --dist loadfile --ignore tests/faults
	$(TEST_ENV) $(BIN)/coverage run -m pytest -n 2 --dist loadfile tests/faults
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

unit: install  ## Unit tests alone: no Redis, no network
	$(BIN)/pytest -q tests/unit tests/architecture

test-faults: install  ## The slow rows of the fault matrix too: away for 60 s, frozen, cut (15 minutes)
	bash tests/install-system-packages
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile tests/faults/test_*.py tests/faults/slow_*.py

test-docker: install  ## docker-compose.yml and the worker in real containers; installs and starts an engine where none runs (4 minutes)
	bash tests/docker/run

schemathesis: install  ## The API against its own OpenAPI: 60 examples a call and phase, another seed each time (1 to 8 minutes)
	bash tests/install-system-packages
	$(TEST_ENV) AITBC_SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),60) AITBC_SCHEMATHESIS_SEED=$(or $(SEED),$(shell date +%s)) \
		$(BIN)/pytest -q --timeout 1800 tests/contract/test_openapi.py -k schemathesis

mutants: install  ## Break the protocol on purpose: each breakage must be noticed (an hour)
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

docs: install  ## Write the generated pages: docs/settings.md, docs/keys.md, docs/metrics.md, .env.example ...
	$(BIN)/python -m docs.generate

verify: install  ## The generated pages are fresh, the wheel holds the Lua
	$(BIN)/pytest -q tests/architecture

check: test lint types layers  ## All that .ci/run runs
	$(BIN)/python -m bench.sizes

$(BENCH_INSTALLED): $(INSTALLED) constraints-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt -r constraints-dev.txt -r constraints-bench.txt
	touch $@

bench: $(BENCH_INSTALLED)  ## Measure beside Celery, taskiq, dramatiq and no queue at all; writes docs/bench (17 to 25 minutes)
	bash tests/install-system-packages
	$(TEST_ENV) $(BIN)/python -m bench --write

bench-quick: $(BENCH_INSTALLED)  ## Full chain beside the no-op and the bare loop (2 minutes)
	$(TEST_ENV) $(BIN)/python -m bench quick

lock: install  ## Pin every dependency anew: constraints.txt for all that runs, beside it what only development and the bench need
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(LOCK) -o constraints.txt
	$(LOCK) --extra dev --extra embedded --extra otel -c constraints.txt $$($(PINNED) constraints.txt) -o constraints-dev.txt
	$(LOCK) --extra bench -c constraints.txt -c constraints-dev.txt $$($(PINNED) constraints.txt constraints-dev.txt) -o constraints-bench.txt

.PHONY: help install up test unit test-faults test-docker schemathesis mutants soak lint fmt types layers docs verify check bench bench-quick lock
