# Two commands matter: `make demo` and `make test`. Make only bootstraps; the rest is `caravan`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test check up soak clean lock
.DEFAULT_GOAL := setup

setup: $(STAMP)

# The build backend is in the lock, so installing the project itself asks no registry.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Caravan needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")' || exit 2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

requirements.lock:
	@echo "requirements.lock is missing: restore it with 'git checkout requirements.lock' or make it with 'make lock'" >&2; exit 2

demo: $(STAMP)
	@$(BIN)/caravan demo

up: $(STAMP)
	@$(BIN)/caravan up

check: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test: check
	@$(BIN)/python -m pytest -m "not soak"

soak: $(STAMP)
	@$(BIN)/python -m pytest -m soak

# Writes no registry host: hashes only.
lock:
	uv pip compile pyproject.toml --universal --generate-hashes --all-extras --no-emit-index-url --no-header -o requirements.lock

clean:
	@test ! -x $(BIN)/python || $(BIN)/python -c "$$DISCARD"
	rm -rf $(VENV) .caravan build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# As root the servers' data lies outside the checkout.
define DISCARD
from pathlib import Path
from kit.servers.quarters import discard
for home in (Path(".caravan"), Path(".caravan/demo")):
    for server in ("postgres", "valkey"):
        if (home / server).exists():
            discard(home / server)
endef
export DISCARD
