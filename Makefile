# make run    set up, then train, quantize, export and verify the fuel-consumption model
# make test   set up, then run every test but the sweeps
# make sweep  set up, then the sweeps: thousands of random networks, other tests in larger numbers, the wheel, the site
# make test-lowest  the lowest versions that pyproject.toml promises: a recipe to parity, the core of the tests, the wheel
# make wheel  what is published, wheel and source distribution, in dist
# make check  lint, types, who may import whom, and how many lines there are
# make docs   build the site with these pages into build/site, and open it
# make bench  measure everything, and make the documentation's tables anew
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What to install beside the core for the tests; `make test EXTRAS=all` adds the converters of second opinions (4 GB).
EXTRAS ?= recipes,logging,test

# Python 3.10 where there is one: the lowest that is promised.
LOWEST := .venv-lowest
LOWEST_PYTHON ?= $(shell python3.10 -c "" 2>/dev/null && echo python3.10 || echo $(PYTHON))
LOWEST_TESTS := tests/test_parity.py tests/test_fixedpoint.py tests/test_observers.py tests/test_requirements.py \
  tests/test_prepare.py tests/test_own_loop.py tests/test_lightning.py tests/test_resume.py \
  tests/test_quantize_command.py
# TensorBoard, which one of two loggers writes for, is an extra.
LOWEST_WITHOUT := tests/test_lightning.py::test_print_config_and_both_loggers

# What Python compiles and pytest rewrites is kept, whatever the shell says: every process that tests start would do it
# again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test sweep test-lowest check docs bench wheel clean

run: $(VENV)/.core
	$(BIN)/python -m recipes.fuel_qat

test: $(VENV)/.test-$(EXTRAS)
	$(BIN)/python -m pytest -n 2 --dist worksteal

sweep: $(VENV)/.test-$(EXTRAS)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m sweep

test-lowest: $(LOWEST)/.core
	$(LOWEST)/bin/python -m recipes.sine_qat --trainer.max_epochs 4 --out $(LOWEST)/sine
	$(LOWEST)/bin/python -m pytest -q $(LOWEST_TESTS) --deselect $(LOWEST_WITHOUT)
	$(LOWEST)/bin/python -m pytest -q -m sweep tests/test_wheel.py

check: $(VENV)/.test-$(EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.house

# Without -q, which would keep warnings from those who count them, and a broken link would pass.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -f docs/site/mkdocs.yml
	@echo "build/site/index.html"
	@if [ -t 1 ] && [ -z "$$CI" ] && [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	  $(BIN)/python -m webbrowser -t "file://$(CURDIR)/build/site/index.html"; fi

# The wheel is built from the source distribution, in a folder of its own: what an earlier build left is not in it.
wheel: $(VENV)/.test-$(EXTRAS)
	rm -rf dist
	$(BIN)/python -m build --no-isolation

bench: $(VENV)/.test-$(EXTRAS)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(LOWEST) build dist

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(LOWEST)/.core: pyproject.toml constraints-lowest.txt
	$(LOWEST_PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install -q -c constraints-lowest.txt "pytest>=9" "setuptools>=77" -e .
	touch $@

$(VENV)/.test-$(EXTRAS): $(VENV)/.core
	$(BIN)/python -m pip install -q -c constraints.txt -e .[$(EXTRAS)]
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install -q -c constraints.txt -e .[docs]
	touch $@
