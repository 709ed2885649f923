# Everything happens inside this directory, in .venv: 'make help' lists what there is.

PYTHON ?= python3
ARGS ?=

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help install demo containerd test torture bench truth faults screenshots tables protocol clean

# What a shell or a configuration may have set for other programs.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

BIN := .venv/bin
INSTALLED := .venv/installed
TOOLS := .venv/installed-tools

# One line that lists what to install, or nothing. Run only where a .venv has to be made.
problem = $(shell \
  command -v "$(PYTHON)" >/dev/null || { \
    echo "there is no $(PYTHON): install Python 3.11 or newer (Debian: apt-get install python3-venv)"; \
    exit; }; \
  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
    echo "contentui needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`:" \
      "install one, and name it as in 'make demo PYTHON=python3.11'"; \
    exit; }; \
  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
    echo "$(PYTHON) lacks the venv module: install it (Debian: apt-get install python3-venv)")
require_python = $(if $(problem),$(error $(problem)))

# A clone that was moved, or a Python that is gone, leaves a .venv that doesn't run any more.
ifneq ($(wildcard .venv),)
ifneq ($(shell $(BIN)/contentui --version >/dev/null 2>&1 && echo sound),sound)
$(INSTALLED): again
endif
endif
.PHONY: again
again:

# Errors only: a cache that can't be written to, for one, is no news.
PIP_INSTALL := $(BIN)/python -m pip install -qq --editable

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='	' read -r name text; do printf 'make %-12s %s\n' "$$name" "$$text"; done

install: $(INSTALLED) ## make .venv/bin/contentui

demo: $(INSTALLED) ## the dashboard on a temporary store full of live ingests (ARGS=--help)
	@$(BIN)/contentui demo $(ARGS)

containerd: $(INSTALLED) ## a containerd that keeps its content in our store, and the dashboard on it (root)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/containerd-on-ours.sh $(ARGS)

test: $(TOOLS) ## all checks and tests, without the long loops
	@echo 'ruff check, ruff format --check, mypy, lint-imports, vulture, pytest'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || \
	  { echo "not formatted as 'ruff format' would:"; $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > .venv/imports.txt 2>&1 || { cat .venv/imports.txt; exit 1; }
	@$(BIN)/vulture
	@$(BIN)/pytest -q -n auto -m 'not torture' $(ARGS)

torture: $(TOOLS) ## the long loops: every fault, ten minutes of stress, SIGKILL 500 times
	@$(BIN)/pytest -q -s -m torture --timeout 3600 $(ARGS)

bench: $(INSTALLED) ## peers and us side by side (ARGS='--quick', ARGS='--write')
	@$(BIN)/python -m bench.run $(ARGS)

truth: $(INSTALLED) ## what is shown of a containerd next to what is true, into docs/monitor.md (root)
	@$(BIN)/python -m bench.truth --write $(ARGS)

faults: $(INSTALLED) ## pulls through broken networks, peers and us side by side (ARGS='--write')
	@$(BIN)/python -m bench.faults $(ARGS)

screenshots: $(INSTALLED) ## the README's pictures, from the demo
	@$(BIN)/python screenshots/make.py $(ARGS)

tables: $(TOOLS) ## the tables of keys, verbs and exit codes in docs/
	@$(BIN)/python tests/hygiene/doc_tables.py

protocol: $(TOOLS) ## the modules of containerd's messages, from contentui/protocol/*.proto
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. contentui/protocol/*.proto

clean: ## remove what make has made
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis bench/.work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	$(require_python)
	@echo 'installing contentui into .venv'
	@"$(PYTHON)" -m venv --clear .venv
	@# Compiled files name the place where they were made, which pytest takes for true.
	@find bench contentui tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@$(PIP_INSTALL) .
	@$(BIN)/python -m compileall -q contentui
	@touch $@

$(TOOLS): $(INSTALLED)
	@echo 'installing the tools of the tests into .venv'
	@$(PIP_INSTALL) '.[test]'
	@touch $@
