# Every target makes the virtual environment that it needs; Python >= 3.11 and make are all it asks for.
PYTHON ?= python3
ARGS ?=
UPGRADE ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
DOCS := $(VENV)/.docs-installed

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench lint format docs pictures site check wheel node lock clean

help: ## Show what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: $(RUNTIME) ## Sync a sample GitLab to a sample Port, both on this machine
	$(BIN)/gitlab-port-export demo $(ARGS)

test: $(DEV) ## Run the tests (make test ARGS="-k name")
	$(BIN)/pytest -n 4 $(ARGS)

soak: $(DEV) ## Run every combination of faults, each parity case alone, 200 random schedules, 60 histories (make soak SEED=1)
	SOAK=200 SEED=$(or $(SEED),$(shell date +%s)) $(BIN)/pytest -n 4 tests/test_fault_matrix.py tests/test_soak.py tests/test_parity_*.py \
		tests/test_people.py tests/test_incremental_machine.py $(ARGS)

bench: $(RUNTIME) ## Measure requests, time, CPU and memory (make bench ARGS="--sizes 10k")
	$(BIN)/python benchmarks/run.py $(ARGS)

lint: $(DEV) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV) ## Write the generated parts of the pages in docs
	$(BIN)/python tools/mapping_docs.py
	$(BIN)/python tools/settings_docs.py
	$(BIN)/python tools/report_docs.py
	$(BIN)/python tools/plan_samples.py

pictures: $(DEV) ## Take the pictures of docs/reports.md (needs chromium and chromedriver)
	$(BIN)/python tools/plan_samples.py --pictures

# Material's notice about the next version of MkDocs is not about these pages.
site: $(DOCS) ## Build the documentation site into build/site, with all links checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

check: lint test ## Everything that must pass before a change is offered

wheel: $(RUNTIME) ## Build the wheel into dist/
	rm -rf dist
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

node: build/node/.installed ## Install what checks workflows and runs a GitLab pipeline (needs npm)

# Without scripts, since none of the packages needs its own; away from the tests, so that npm writes nothing there.
build/node/.installed: tests/node/package.json tests/node/package-lock.json
	rm -rf build/node && mkdir -p build/node
	cp $^ build/node
	npm ci --prefix build/node --ignore-scripts --no-audit --no-fund
	@touch $@

# Made anew whenever what is declared or pinned changes, so that nothing dropped stays behind.
$(RUNTIME): pyproject.toml requirements/constraints.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, for example: make PYTHON=python3.13" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements/constraints.txt -r requirements/build.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(DOCS): $(RUNTIME) requirements/docs.txt
	$(PIP) install --quiet --require-hashes -r requirements/docs.txt
	@touch $@

# Local mirrors are left out: their files would put other hashes into the lists, or too few.
COMPILE := env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	build/lock/bin/pip-compile --quiet --no-config --generate-hashes --allow-unsafe --strip-extras \
	--no-header --annotation-style line --no-emit-options $(UPGRADE)
DECLARED = build/lock/bin/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
	print(*$(1), sep='\n')"

lock: ## Pin what pyproject.toml declares (make lock UPGRADE=--upgrade for the newest)
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/pip install --quiet pip-tools
	$(call DECLARED,p['project']['dependencies']) | $(COMPILE) -o requirements/constraints.txt -
	$(call DECLARED,p['build-system']['requires']) \
		| $(COMPILE) -c requirements/constraints.txt -o requirements/build.txt -
	$(call DECLARED,p['dependency-groups']['dev']) \
		| $(COMPILE) -c requirements/constraints.txt -c requirements/build.txt -o requirements/dev.txt -
	$(call DECLARED,p['dependency-groups']['docs']) \
		| $(COMPILE) -c requirements/constraints.txt -c requirements/build.txt -c requirements/dev.txt \
		-o requirements/docs.txt -
	sed -i.bak 's/-r -/pyproject.toml/' requirements/*.txt && rm requirements/*.bak

clean: ## Remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
