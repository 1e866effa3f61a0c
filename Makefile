# make run    set up, then train, quantize, export and verify the fuel-consumption model
# make test   set up, then run every test
# make check  lint, types, and who may import whom
# make bench  measure everything, and make the README's tables anew
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What to install beside the core for the tests; `make test EXTRAS=all` adds the converters of second opinions (4 GB).
EXTRAS ?= recipes,logging,test

.PHONY: run test check bench clean

run: $(VENV)/.core
	$(BIN)/python -m recipes.fuel_qat

test: $(VENV)/.test-$(EXTRAS)
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.test-$(EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test-$(EXTRAS)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.test-$(EXTRAS): $(VENV)/.core
	$(BIN)/python -m pip install -q -c constraints.txt -e .[$(EXTRAS)]
	touch $@
