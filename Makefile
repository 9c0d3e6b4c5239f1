# Everything here needs Python 3.11 or newer and make; the rest is installed into .venv from the lock files.
PYTHON ?= python3
BIN := .venv/bin
# Twice as many as there are cores, since tests also wait. More of them starve those that count seconds.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 2 )))
# Databases of tests are in memory where there is room, so that no test waits for the disk.
IN_MEMORY := $(shell [ "$$(df --output=avail /dev/shm 2> /dev/null | tail -1)" -gt 4000000 ] 2> /dev/null && echo TMPDIR=/dev/shm)
ARGS ?=
FUZZ ?= 100000

.PHONY: help run doctor demo test coverage simulate chaos bench cards house manifest map check format lock locks fuzz audit sbom dist clean

help: ## show this help
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/runtime: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; try make PYTHON=python3.12")'
	@echo "Installing into .venv (the first time takes about a minute)…"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

# Much of it is never imported, so none of it is compiled before it is.
.venv/dev: .venv/runtime requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-compile -r requirements-dev.lock
	@touch $@

run: .venv/runtime ## run the bot with the settings in .env
	$(BIN)/python -m bot

# The accessibility rules for the browser tests. Without npm those say that they are left out, and CI refuses to.
tests/browser/node_modules: tests/browser/package-lock.json
	npm ci --prefix tests/browser --silent --ignore-scripts --no-audit --no-fund || echo "axe-core could not be installed"

doctor: .venv/runtime ## check the settings in .env and everything the bot depends on
	@$(BIN)/python -m bot doctor $(ARGS)

demo: .venv/runtime ## try the bot in your browser with simulated Slack and Together (ARGS=--tour: in the terminal)
	$(BIN)/python -m tests.simulator $(ARGS)

test: .venv/dev tests/browser/node_modules ## run all tests in parallel
	$(IN_MEMORY) $(BIN)/pytest --numprocesses=$(WORKERS) $(ARGS)

# Apart, because it nearly doubles the time. The bound is in pyproject.toml.
coverage: .venv/dev tests/browser/node_modules ## run all tests, and fail where they leave too many lines out
	$(IN_MEMORY) $(BIN)/pytest --numprocesses=$(WORKERS) --cov $(ARGS)

chaos: .venv/dev ## kill processes while commands and clicks arrive, on both databases (ARGS="--seconds 600")
	$(BIN)/python -m tests.chaos $(ARGS)

SEEDS ?= 1000
simulate: .venv/runtime ## let seeded worlds look for what goes wrong (SEEDS=100000; SEED=n plays one, with ARGS=--shrink)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

# The peer for the benchmarks. Without npm they say that it is left out.
bench/peers/node_modules: bench/peers/package-lock.json
	npm ci --prefix bench/peers --silent --ignore-scripts --no-audit --no-fund || echo "Bolt for JavaScript could not be installed"

build/production: requirements.lock
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

bench: .venv/dev build/production bench/peers/node_modules ## run benchmarks
	$(BIN)/python -m bench

cards: .venv/dev ## draw every card, error, and dialog into docs/cards with Chromium
	$(BIN)/python -m tests.browser.pictures

house: .venv/dev ## measure how much there is to read, and how far one click goes
	$(BIN)/python -m tests.house

manifest: .venv/dev ## write manifest.yaml from the code
	$(BIN)/python -m tests.manifest_file

map: .venv/dev ## list every module with its first line in docs/files.md
	$(BIN)/python -m tests.file_map

check: .venv/dev ## check style, types, and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/dev ## update the lock files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url \
		--upgrade -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url \
		--upgrade -c requirements.lock --group dev -o requirements-dev.lock pyproject.toml

# The pip that came with the oldest supported Python, from an empty cache: what a new machine meets.
OLDEST_PIP := 22.3
locks: ## install both lock files into new environments with the oldest supported pip
	for lock in requirements.lock requirements-dev.lock; do \
		rm -rf build/locks && $(PYTHON) -m venv build/locks \
		&& build/locks/bin/python -m pip install --quiet --disable-pip-version-check pip==$(OLDEST_PIP) \
		&& build/locks/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r $$lock \
		&& echo "$$lock: installed with pip $(OLDEST_PIP)" || exit 1; \
	done

fuzz: .venv/dev ## try random cases (FUZZ=100000) of everything that reads what comes from outside
	FUZZ=$(FUZZ) $(BIN)/pytest --numprocesses=$(WORKERS) -m fuzz $(ARGS)

audit: .venv/dev ## look for known vulnerabilities in what the bot depends on
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements.lock

sbom: .venv/dev ## write the software bill of materials to build/sbom.json
	mkdir -p build
	$(BIN)/cyclonedx-py requirements --output-reproducible --output-file build/sbom.json requirements.lock

# Without what an earlier build has left: it would be packed too though it was deleted since, or installed beside this one.
dist: .venv/dev ## build the wheel into build/dist
	rm -rf build/lib build/dist
	$(BIN)/uv build --quiet --wheel --out-dir build/dist

clean: ## remove build output
	rm -rf .venv build tests/browser/node_modules bench/peers/node_modules .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
