# Everything the book needs, from a bare clone: `make book`, `make test`. See README.md.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PORT   ?= 8000
.DEFAULT_GOAL := help

.PHONY: help
help: ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

# The environments. A stamp is written only after everything is in place, so a killed install starts over.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/book.stamp: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/book.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.PHONY: book
book: $(VENV)/book.stamp ## build the site, strictly, and say where it is
	@PATH="$(CURDIR)/$(BIN):$$PATH" jupyter-book build . -W -n --keep-going
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

.PHONY: serve
serve: ## serve the built site on this machine alone (PORT=8000)
	@test -f _build/html/index.html || { echo "There is no site yet: run 'make book' first." >&2; exit 1; }
	@echo "The book: http://127.0.0.1:$(PORT)/  (Ctrl-C ends it)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

.PHONY: lab
lab: $(VENV)/dev.stamp ## open the pages as live notebooks in JupyterLab
	@PATH="$(CURDIR)/$(BIN):$$PATH" jupyter lab book

.PHONY: test
test: $(VENV)/dev.stamp lint ## every test and every check, the strict build included
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff, mypy, codespell
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell

.PHONY: lock
lock: $(VENV)/dev.stamp ## write both requirements files anew from pyproject.toml
	@TORCH='$(TORCH)' PATH="$(CURDIR)/$(BIN):$$PATH" bash .ci/lock

.PHONY: clean
clean: ## remove what was built (not the environment)
	rm -rf _build
