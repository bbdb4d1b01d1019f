# Needs python3 (3.10 or newer), make and the package registries; `make` alone lists the targets.
PYTHON ?= python3
PORT ?= 8069
# Arguments for pytest in test-core and test-addons, e.g. `make test-addons PYTEST="odoo_addon/trackflow -k merge"`.
PYTEST ?=
# Which of Odoo's suites test-odoo-suites runs, and Odoo's test tags that choose among their tests,
# e.g. `make test-odoo-suites SUITES="website" TAGS="-/website:TestUi"`.
SUITES ?=
TAGS ?=

ENVIRONMENT := tests.environment
IN_VENV := .venv/bin/python -m
MYPY_TARGETS := trackflow_core $(wildcard connectors/*/trackflow_*) $(wildcard plugins/*/trackflow_*) tests/environment
# Where the packages of the workspace begin, so that mypy gives a module one name only.
empty :=
export MYPYPATH := $(subst $(empty) $(empty),:,$(patsubst %/pyproject.toml,%,$(wildcard connectors/*/pyproject.toml plugins/*/pyproject.toml)))

.DEFAULT_GOAL := help
.PHONY: help setup lock demo test test-core test-addons test-odoo-suites check \
	check-format check-lint check-types check-imports check-odoo check-docs check-changelog bench docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

python:
	@command -v $(PYTHON) >/dev/null || { echo "error: there is no $(PYTHON) on PATH: install Python 3.10 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: $(PYTHON) is older than 3.10: name a newer one with make PYTHON=..." >&2; exit 1; }
.PHONY: python

setup: python ## Make .venv: every distribution of the workspace, its tools, the command trackflow
	@$(PYTHON) -m $(ENVIRONMENT).bootstrap

lock: python ## Pin the newest allowed versions in constraints.txt
	@$(PYTHON) -m $(ENVIRONMENT).constraints

demo: setup ## Odoo 19 with TrackFlow and demo data on PORT (8069), until Ctrl-C
	@$(IN_VENV) $(ENVIRONMENT).demo --port $(PORT)

test: setup ## Every test: core, addons in a real Odoo, Odoo's own suites
	@$(IN_VENV) $(ENVIRONMENT).run_tests

test-core: setup ## Tests of core, connectors and plugins
	@$(IN_VENV) $(ENVIRONMENT).run_tests core --pytest="$(PYTEST)"

test-addons: setup ## Tests of the addons in a real Odoo, with browser tours
	@$(IN_VENV) $(ENVIRONMENT).run_tests addons --pytest="$(PYTEST)"

test-odoo-suites: setup ## Odoo's own tests, also the long ones: what passes alone passes with ours (in npm's Chromium 140)
	@$(IN_VENV) $(ENVIRONMENT).odoo_suites $(SUITES) --tags="$(TAGS)"

check: check-format check-lint check-types check-imports check-odoo check-docs check-changelog ## Format, lint, types, imports, docs, changelog
	@echo "make check: passed"

check-format: setup
	@.venv/bin/ruff format --check

check-lint: setup
	@.venv/bin/ruff check

check-types: setup
	@.venv/bin/mypy --strict $(MYPY_TARGETS)

check-imports: setup
	@.venv/bin/lint-imports

# An addon describes itself in readme/, from which README.rst is made when it is published.
check-odoo: setup
	@.venv/bin/pylint --load-plugins=pylint_odoo --disable=all --enable=odoolint \
		--disable=missing-readme --manifest-required-authors='TrackFlow' odoo_addon/*/

check-docs: setup
	@.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs

check-changelog: setup
	@.venv/bin/towncrier build --draft --version next >/dev/null

bench: setup ## Measure everything that has a target; SCALE=0.02 makes the company of odoo_scale a small one
	@$(IN_VENV) tests.benchmarks

docs: check-docs ## Build the documentation in build/docs
	@echo "build/docs/index.html"

clean: ## Remove .venv and build; the cache stays
	@rm -rf .venv build
