# What a person types at the root. Every target sets up .venv first; only Python 3.11 or newer and make are needed.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.interval-installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow bench persistence statefulness embedded-model lint lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP) ## create .venv and install the locked requirements into it

$(STAMP): requirements.lock pyproject.toml scripts/set-up
	@sh scripts/set-up $(VENV)
	@touch $@

demo: $(STAMP) ## write a sample archive, report its pairs, audit them, leave a page and a database in demo/
	@$(BIN)/interval demo demo

test: lint ## all checks and tests; `CI=true` turns a missing server from a skip into a failure
	@sh scripts/ensure-servers
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile --benchmark-disable

test-slow: $(STAMP) ## the tests that take minutes
	@sh scripts/ensure-servers
	$(BIN)/pytest -q -m slow --timeout 3600

bench: $(STAMP) ## measure; prints ratios
	$(BIN)/pytest -q -m benchmark --timeout 0 tests/benchmarks

persistence: $(STAMP) ## train with and without the visual memory, write docs/persistence.md; goes on where it was stopped
	OMP_NUM_THREADS=1 $(BIN)/python -P -m training.persistence --out runs/persistence --doc docs/persistence.md

statefulness: $(STAMP) ## train every design of the stateful encoder, write docs/statefulness.md; goes on where it was stopped
	OMP_NUM_THREADS=1 $(BIN)/python -P -m training.statefulness --out runs/statefulness --doc docs/statefulness.md

embedded-model: $(STAMP) ## measure the embedded model on held-out archives, write docs/embedded-model.md; START=HOST compares designs
	$(BIN)/python -P -m training.embedded --out runs/embedded-model --doc docs/embedded-model.md $(if $(START),--start $(START))

lint: $(STAMP) ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(STAMP) ## compile requirements.lock from pyproject.toml: one version of everything for all supported Pythons
	@sh scripts/compile-lock $(VENV)

clean: ## remove what the targets above made, .venv, demo/ and runs/ included
	rm -rf $(VENV) demo runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
