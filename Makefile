# The few verbs a person needs. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test slow lint bench clean

demo: $(VENV)/.installed  ## train the demo sweep, then draw how it remembers its initialization
	$(BIN)/python -m suite.grid --experiment demo
	$(BIN)/python -m analysis.phase_diagram --experiment demo --out figures
	@echo
	@echo "All runs, curves and parameters: $(BIN)/mlflow ui, then http://127.0.0.1:5000"

test: $(VENV)/.installed-dev  ## the whole fast test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

slow: $(VENV)/.installed-dev  ## the long tests: kill -9, servers that go away, mlflow run, Ray, SLURM
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,ray,slurm]'
	$(BIN)/python -m pytest -m slow --timeout 900

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m suite.generated_files --check

bench: $(VENV)/.installed-dev  ## ratios against plain PyTorch and Keras, measured side by side
	$(BIN)/python -m benchmarks.plain_loop
	$(BIN)/python -m benchmarks.plain_loop --side 32 --width 16 --epochs 3
	$(BIN)/python -m benchmarks.cpu_variants
	$(BIN)/python -m benchmarks.sweep_speed

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
