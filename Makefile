PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: setup quickstart test check format bench clean

setup: $(INSTALLED)  ## make .venv with everything pinned

$(INSTALLED): pyproject.toml constraints.txt requirements-samples.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --requirement requirements-samples.txt
	touch $@

quickstart: setup  ## the main job on real data: six clients, three tasks, a real model, on Ray
	$(BIN)/fltac run experiments/quickstart.toml

test: setup  ## the whole suite, two files at a time
	$(BIN)/pytest -n 2 --dist loadfile

check: setup  ## formatting, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## what Ray costs beside the bare loop, side by side
	$(BIN)/python benchmarks/runtimes.py

clean:
	rm -rf .venv build *.egg-info
