# Everything by hand and in CI goes through here. Python 3.11 or later is all that has to be there.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= runs/harbour
# Compiled modules are kept, whatever the environment says: thousands are imported by each test worker and each command.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install dev demo test check lint types layers fast slow clean

install: $(VENV)/.installed
dev: $(VENV)/.installed-dev

# torch first and by pip: its pin decides which build is taken; uv installs the rest in seconds.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: install  ## train, measure and export the demo; prints where the report is
	$(BIN)/tuneloop run examples/harbour/recipe.yaml --out $(OUT)

test: dev  ## all set-up, and the tests that take less than three minutes
	$(BIN)/python -m pytest -m "not slow and not network" -n 2 --dist worksteal

slow: dev  ## the other tests
	$(BIN)/python -m pytest -m "slow and not network" -n 2 --dist worksteal

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: dev
	$(BIN)/pyrefly check

layers: dev
	$(BIN)/lint-imports

check: lint types layers  ## what CI runs
	$(BIN)/deptry .
	$(MAKE) test
	$(MAKE) slow

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
