# Everything a developer does here. `make` alone says what there is.

PYTHON ?= python3
VENV := .venv
# A test worker per processor: with more, real engines under test miss their own deadlines.
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test retest test-console mutants chaos cluster-test chaos-controls chaos-long check format bench bench-peers clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Set up .venv with everything for development

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: install ## Start the whole engine, run a workflow in each mode, show the record
	$(BIN)/python examples/demo.py

# In the order of the directories: the quick ones of tests/unit come last, so that no worker waits for another's long file.
test: install ## Run all tests but those of the console
	scripts/install_redis.sh
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/console

retest: install ## Run again, one after the other, only the tests that failed the last time
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

test-console: install ## Run the tests of the console in Chromium, which is installed if there is none
	scripts/install_chromium.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/console

mutants: install ## Break the engine in one place at a time: the models must find each (no part of the tests)
	$(BIN)/python -m tests.model.mutants

chaos: install ## 5,000 executions of real processes under 44 faults, and whether every promise held (SEED=n repeats a plan)
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(CHAOS)

cluster-test: install ## The distributed mode as processes: three nats-servers, PostgreSQL, Redis, every service doubled, partitions
	scripts/install_redis.sh
	$(BIN)/python -m tests.chaos --nodes 3 --postgresql --executions 2000 --faults 80 --seconds 100 $(if $(SEED),--seed $(SEED))

chaos-controls: install ## With a protection switched off, the checker of chaos must find what it is there for
	$(BIN)/python -m tests.chaos.controls

chaos-long: chaos-controls ## 100,000 executions under 1,180 faults, over twenty seeds: SQLite, PostgreSQL, a cluster (about an hour)
	$(BIN)/python -m tests.chaos.long $(CHAOS)

check: install ## Lint, formatting, types, import contracts, security of code and dependencies, exported names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r libs services -c pyproject.toml
	$(BIN)/python scripts/audit_dependencies.py
	$(BIN)/python -m pytest tests/architecture

format: install ## Put the code into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Measure speed with either durability, fairness, and what a second executor adds
	$(BIN)/python -m bench
	$(BIN)/python -m bench --durability fsync
	$(BIN)/python -m bench.fairness
	$(BIN)/python -m bench.scaling

bench-peers: install ## Measure Runlane beside Restate, taskiq, Celery, DBOS, procrastinate and Prefect
	scripts/install_redis.sh
	$(BIN)/python -m bench.peers

clean: ## Remove what was built here, .venv too
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
