# `make` or `make help` lists what there is. Needs Python 3.11 to 3.13 and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --quiet --disable-pip-version-check
PACKAGES := --editable '.[dev]' --constraint constraints.txt
ARGS ?=
PYTEST := $(RUN) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# A package has one name, however it is written
NAMED := sed -E ':a;s/^([^=]*)[._]/\1-/;ta'

.DEFAULT_GOAL := help
.PHONY: help install train test test-all lint format docs notebooks outdated clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18
	@echo "  ARGS passes overrides on: make train ARGS='backbone=resnet18 seed=1'"

install: $(VENV)/.installed  ## Virtual environment in .venv with everything (7.4 GB, one to three minutes)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "error: Python 3.11 to 3.13 is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install uv --constraint constraints.txt
	$(VENV)/bin/uv pip install --quiet --python $(RUN) $(PACKAGES) || $(PIP) install --upgrade $(PACKAGES)
	touch $@

train: install  ## Make the embedded data set, train what learns most of it in minutes, test it, draw report.html
	$(RUN) -m rankpose.train experiment=quarter_hour $(ARGS)

test: lint  ## Check style and types, and run the tests; ARGS="-m 'not slow'" leaves out all that start a command
	$(PYTEST) -m 'not long' $(ARGS)

test-all: lint  ## The same with the long tests: sweeps, clusters, kills at any moment, every notebook
	$(PYTEST) $(ARGS)

lint: install  ## Check style and types only
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: install  ## Put the code into the project's format
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

docs: install  ## The documentation site in build/site; `make docs ARGS=serve` shows it, searching included
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs $(or $(ARGS),build --strict)

notebooks: install  ## Run notebooks/ again and keep in them what they show, for GitHub and the site
	$(RUN) docs/site/notebooks.py $(ARGS)

outdated: install  ## What is newer than constraints.txt; then the tests that start no command, with the newest (7.4 GB)
	mkdir -p build/outdated
	echo uv | $(VENV)/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --unsafe-package setuptools \
		--python $(RUN) --extra dev --output-file build/outdated/newest.txt pyproject.toml -
	for file in constraints.txt build/outdated/newest.txt; do $(NAMED) $$file | tr A-Z a-z | sort > build/outdated/$$(basename $$file).named; done
	-diff --side-by-side --suppress-common-lines --width 100 build/outdated/constraints.txt.named build/outdated/newest.txt.named
	$(PYTHON) -m venv --clear build/outdated/venv
	$(VENV)/bin/uv pip install --quiet --python build/outdated/venv/bin/python --editable '.[dev]' --constraint build/outdated/newest.txt
	build/outdated/venv/bin/python -m pytest -m 'not slow' -p no:cacheprovider $(ARGS)

clean:  ## Remove the virtual environment and caches; data/ and runs/ stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
