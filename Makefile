# Everything from nothing: `make demo` and `make test` create the environment first when it is missing.
PYTHON ?= python3
VENV ?= .venv
# torch and torchvision are built for each other; only a matching pair imports.
TORCH ?= torch==2.14.1 torchvision==0.29.1
BIN := $(VENV)/bin
# One thread a test process: two processes then share two cores without getting in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadgroup

.PHONY: install ui demo test slow lint check clean help

help:            ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

install: $(VENV)/installed ## an environment with the package and everything that working on it needs

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 install"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "error: $(PYTHON) cannot make environments; on Debian: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

ui: install      ## the studio in a browser
	$(BIN)/spectral-diffusion ui

demo: install    ## three concepts trained, fused, drawn together and scored: outputs/demo/report.html
	$(BIN)/spectral-diffusion demo --out outputs/demo

test: install    ## the default tests
	$(PYTEST)

slow: install    ## the tests that take longer
	$(PYTEST) -m 'slow and not gpu'

lint: install    ## style, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

check: lint test slow ## all that CI asks

clean:           ## remove the environment and what was built
	rm -rf $(VENV) build dist outputs .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
