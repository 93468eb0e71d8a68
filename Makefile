# One command that checks everything, one that tests everything, one that shows everything: `make help`.

PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --progress-bar on
LOCKED := $(PIP) --no-deps --require-hashes
ARGS ?=
WHAT ?= peers
ROUNDS ?= $(if $(filter peers,$(WHAT)),1)
BENCHES := peers stages cores scale latency freshness overhead swap slope breakdown
BESIDE_PEERS := all peers scale overhead breakdown
IN_ROUNDS := peers scale latency overhead
WRITE_peers := --rounds 5
WRITE_latency := --rounds 3
WRITE_slope := --minutes 20

.DEFAULT_GOAL := help
.PHONY: help demo chaos fuzz test check lint unit bench up format venv requirements clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: venv ## Watch a model learn from a year's flights; options in ARGS="--days 60 --speed 600x --exit"
	@$(BIN)/rivermill demo $(ARGS)

chaos: venv ## Faults at random moments against everything, then every record is checked: SEED=7, KILLS=1000, ARGS="--help"
	@$(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) $(ARGS)

fuzz: venv ## Mutated bytes against decoders and cleaning: CASES=1000000, SEED=7; led by coverage: LED=events SECONDS=60
ifdef LED
fuzz: $(VENV)-fuzz/.locked
	@mkdir -p .data/fuzz/$(LED)
	@$(VENV)-fuzz/bin/python -m fuzz.led $(LED) -max_total_time=$(or $(SECONDS),60) -max_len=4096 .data/fuzz/$(LED) fuzz/corpus/$(LED)
else
	@$(BIN)/python -m fuzz $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED)) $(ARGS)
endif

test: venv ## Run all tests, on a real Kafka broker (ARGS go to pytest)
	@$(BIN)/python -m pytest -n 2 $(ARGS)

check: lint unit ## Lint, types, layers, generated files and unit tests: what must be green before a commit

lint: venv ## Lint, types, layers and generated files
	@echo "ruff check" && $(BIN)/ruff check .
	@echo "ruff format --check" && $(BIN)/ruff format --check .
	@echo "bandit" && $(BIN)/bandit --quiet --recursive --configfile pyproject.toml services schemas
	@echo "mypy" && $(BIN)/mypy
	@echo "lint-imports" && $(BIN)/lint-imports
	@echo "python -m schemas.generate --check" && $(BIN)/python -m schemas.generate --check
	@echo "python -m deploy.kubernetes.generate --check" && $(BIN)/python -m deploy.kubernetes.generate --check
	@echo "python -m deploy.grafana.generate --check" && $(BIN)/python -m deploy.grafana.generate --check
	@echo "python -m schemas.release --check" && $(BIN)/python -m schemas.release --check

unit: venv ## Run the unit tests alone: no broker, and no other server that is a process of its own
	@$(BIN)/python -m pytest -n 2 tests/unit -m "not server" $(ARGS)

bench: venv $(if $(filter $(BESIDE_PEERS),$(WHAT)),$(VENV)-bench/.locked) ## Measure scoring beside its peers (ROUNDS=5 writes it down); WHAT=cores, latency, ... another part, WHAT=all writes all (bench/RESULTS.md)
ifeq ($(WHAT),all)
	@$(if $(ROUNDS)$(ARGS),echo "error: WHAT=all takes no ROUNDS and no ARGS: every part is measured as it is written down" >&2; exit 1)
	@failed=; $(foreach each,$(BENCHES),echo "bench.$(each)"; \
		$(BIN)/python -m bench.$(each) $(or $(WRITE_$(each)),--write) || { test $$? -ne 130 || exit 130; failed="$$failed $(each)"; };) \
		test -z "$$failed" || { echo "error: not all is as it should be:$$failed" >&2; exit 1; }
else
	@$(if $(filter $(BENCHES),$(WHAT)),,echo "error: WHAT is one of: all $(BENCHES)" >&2; exit 1)
	@$(if $(and $(ROUNDS),$(filter-out $(IN_ROUNDS),$(WHAT))),echo "error: ROUNDS is for: $(IN_ROUNDS)" >&2; exit 1)
	@$(BIN)/python -m bench.$(WHAT) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)
endif

up: ## Build the image and run everything in containers: docs/deploying.md (needs Docker, nothing else)
	@sh deploy/compose/secrets.sh
	@docker compose up --build --detach --wait

format: venv ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

venv: $(VENV)/.locked $(VENV)/.flights $(VENV)/.editable ## Make the virtual environment with pinned, hashed requirements

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "error: Rivermill needs Python 3.11 or newer and found none on PATH: install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Rivermill needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`: name another one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "[1/4] making $(VENV) with `$(PYTHON) --version`"
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) -m venv failed: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.locked: requirements/dev.txt requirements/build.txt | $(VENV)/.python
	@echo "[2/4] installing the pinned requirements (about 250 MB once)"
	@$(LOCKED) -r requirements/build.txt -r requirements/dev.txt
	@touch $@

$(VENV)/.flights: requirements/flights.txt | $(VENV)/.locked
	@echo "[3/4] installing the flights (31 MB)"
	@$(LOCKED) --no-build-isolation -r requirements/flights.txt
	@touch $@

$(VENV)/.editable: pyproject.toml | $(VENV)/.locked
	@echo "[4/4] installing rivermill"
	@$(PIP) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-bench/.locked: requirements/bench.txt | $(VENV)/.python
	@echo "[1/1] making $(VENV)-bench with the peers to measure (about 400 MB once)"
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--no-deps --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)-fuzz/.locked: requirements/main.txt requirements/fuzz.txt | $(VENV)/.python
	@echo "[1/1] making $(VENV)-fuzz with atheris"
	@$(PYTHON) -m venv $(VENV)-fuzz
	@$(VENV)-fuzz/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--no-deps --require-hashes -r requirements/main.txt -r requirements/fuzz.txt
	@touch $@

requirements: ## Pin the requirements anew (needs uv)
	@for file in main dev; do \
		group=$$(test $$file = dev && echo "--group dev"); \
		uv pip compile pyproject.toml --extra broker $$group --universal --python-version 3.11 --generate-hashes \
			--no-header --upgrade --quiet -o requirements/$$file.txt; done
	@uv pip compile pyproject.toml --constraint requirements/main.txt --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade --quiet -o requirements/image.txt
	@for group in bench fuzz; do \
		uv pip compile --group $$group --constraint requirements/main.txt --universal --python-version 3.11 \
			--generate-hashes --no-header --upgrade --quiet -o requirements/$$group.txt; done

clean: ## Remove the virtual environment and local data (not the shared cache)
	rm -rf $(VENV) $(VENV)-bench $(VENV)-fuzz .data
