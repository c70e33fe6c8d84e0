# `make demo` and `make test` from a fresh clone. They need make and Python 3.11 or newer, nothing else.

VENV ?= .venv
BIN := $(VENV)/bin

# The first Python on the path that is new enough and can make an environment. Yours: make PYTHON=/path/to/python3.12
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# Which build of torch: constraints/ci.txt says the version, this says where from. Left empty, pip takes a CPU build
# where it is configured with one and PyTorch's usual build otherwise (on Linux that is the CUDA build, several GB,
# which works without a GPU too). For another build give the address of PyTorch's index for it, as PyTorch's
# installation page shows it for your machine: make demo TORCH_INDEX=<address>
TORCH_INDEX ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints/ci.txt \
    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PIP_TWICE = $(PIP) $(1) || { echo "  that failed; trying once more"; $(PIP) $(1); }

FAST := not slow and not wheel and not hub
PYTEST_FLAGS ?=
# Test files that run beside each other; the tests of a file stay together, in order.
WORKERS ?= 2
# pytest exits with 5 when it had no test to run: fine when flags or markers left none, but not for a whole fast part.
NONE_IS_FINE := || [ $$? -eq 5 ]

.PHONY: help demo test quality docs zoo wheel clean
.NOTPARALLEL:

help:
	@echo "make demo     install into $(VENV) and draw the demo video"
	@echo "make test     install and run the tests, the fast ones first"
	@echo "make quality  ruff, mypy --strict and the floors of the house"
	@echo "make docs     build the site into site/"
	@echo "make zoo      write the table of pipelines into README.md and docs/zoo.md"
	@echo "make wheel    build the package into dist/"
	@echo "make clean    remove all of the above"

demo: $(VENV)/.installed
	@$(BIN)/vid2vid-hub demo

test: $(VENV)/.dev $(VENV)/.browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "$(FAST)" $(PYTEST_FLAGS) $(if $(PYTEST_FLAGS),$(NONE_IS_FINE))
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not ($(FAST))" $(PYTEST_FLAGS) $(NONE_IS_FINE)

quality: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

zoo: $(VENV)/.installed
	$(BIN)/python -m vid2vid_hub.zoo README.md docs/zoo.md

wheel: $(VENV)/.dev
	$(BIN)/python -m hatchling build -t wheel -d dist

clean:
	rm -rf $(VENV) demo dist build site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "vid2vid-hub needs Python 3.11 or newer with venv and pip, and none of python3," \
	    "python3.13, python3.12, python3.11 is that; install one, or name yours: make PYTHON=/path/to/python"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.torch: constraints/ci.txt $(VENV)/.made
	@echo "installing torch (about a minute; longer where it must be downloaded)"
	@if [ "$$(uname -s)" = Linux ] && [ -z "$(TORCH_INDEX)" ] && ! command -v nvidia-smi >/dev/null \
	    && plan=$$($(PIP) --dry-run --no-deps --ignore-installed --report - torch 2>/dev/null) \
	    && ! echo "$$plan" | grep -q '"version": "[^"]*+cpu"'; then \
	    echo "  no NVIDIA GPU is seen here, yet pip offers the CUDA build, several GB; it works, and TORCH_INDEX in the" \
	    "Makefile says how to get the small one"; fi
	@$(call PIP_TWICE,torch)
	@touch $@

# The app is tested in a real browser. Where none can be installed from here, those tests say so and are skipped.
$(VENV)/.browser: $(VENV)/.made
	@for b in chromium chromium-browser google-chrome; do command -v $$b >/dev/null && touch $@ && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium, in which the app is tested"; \
	    { apt-get install -y -qq --no-install-recommends chromium \
	        || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null \
	    && touch $@; \
	else echo "no chromium is here, in which the app is tested: apt-get install chromium"; fi

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	@echo "installing vid2vid-hub and its libraries (about a minute)"
	@$(call PIP_TWICE,-e .)
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.installed
	@echo "installing the tools of developers (half a minute)"
	@$(call PIP_TWICE,-e ".[dev]")
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.installed
	@echo "installing what builds the site"
	@$(call PIP_TWICE,-e ".[docs]")
	@touch $@
