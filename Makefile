# Two commands are all it takes: `make book` and `make test`. Both set up the environment in .venv first, and again
# whenever requirements.txt or pyproject.toml has changed. They need make and Python 3.11 or newer, nothing else.
#
#   make book                   execute what has changed, check it, build the pages: _build/html/index.html
#   make book DATASET=mnist     insist on MNIST instead of falling back on the bundled digits
#   make book ALL=1             execute every chapter again; CHAPTER=02-capacity only that one; FAST=1 a quick look
#   make book AT_ONCE=1         one chapter at a time instead of two; more where there are many cores
#   make book PDF=1             make the paper as a PDF too, _build/html/lowcap.pdf; needs Chromium or Chrome
#   make test                   all tests, in two processes; those of the JavaScript need node. WORKERS=4 for more
#   make test ARGS="-k parameters"   some of them, in this process
#   make lint                   style, format, types, workflows, notebooks without outputs; with npm JavaScript too
#   make dist                   wheel and source archive in dist/, checked
#   make archive                the last book with all that it was made from, as one file: dist/book.zip
#   make audit                  known vulnerabilities of what is installed
#   make lock                   after a change of requirements.txt: the check sums in .ci/requirements.lock
#   make bench                  speed of the training core against others; JSON=PATH, README=PATH write it down
#   make clean                  remove what was built; the environment and the data stay
#
# PYTHON names the Python to use: make book PYTHON=/opt/python3.12/bin/python3
# On Linux without a GPU, this saves gigabytes of download:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make book
# LOCKED=1 refuses packages other than those whose check sums are in .ci/requirements.lock (of all but torch).

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
READY := $(VENV)/.ready
TOOLS := .tools/.ready
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)
NOTEBOOKS := $(wildcard book/*.ipynb book/template/*.ipynb)
STRIP_KEYS := metadata.papermill cell.metadata.papermill

BUILD_ARGS := $(if $(DATASET),--dataset '$(DATASET)') $(if $(ALL),--all) $(if $(FAST),--fast) $(if $(PDF),--pdf) \
              $(if $(OUTPUT),--output '$(OUTPUT)') $(if $(AT_ONCE),--at-once '$(AT_ONCE)') $(foreach chapter,$(CHAPTER),--chapter '$(chapter)')

# For the end of `if command -v node; then ...;`: without node its checks are left out, unless they are required.
NO_NODE := elif [ -n "$$LOWCAP_REQUIRE_NODE" ]; then echo "node and npm are needed (LOWCAP_REQUIRE_NODE)" >&2; exit 1; \
           else echo "The JavaScript was not checked: there is no node."; fi
NODE_TOOLS := node_modules/.ready

.PHONY: help setup book test lint dist archive audit lock bench clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^$$/q;s/^# \{0,1\}//p' Makefile

setup: $(READY)

book: $(READY)
	@$(BIN)/lowcap build $(BUILD_ARGS)

# One thread: with more, small products of matrices wait for each other, on a busy machine many times as long.
# Processes share the tests out by file, since fixtures are made once per file, in the order of tests/conftest.py. Two,
# also where there are more cores: chapters, Jupyter Book and browsers are processes beside them. None beside this one
# for a part of the tests: each process first imports and collects them all, which takes longer than a few tests.
WORKERS ?= $(if $(ARGS),0,2)
test: $(READY)
	@if command -v node >/dev/null; then node --test --test-reporter=spec tests/js/*.test.mjs; $(NO_NODE)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/zizmor --offline --quiet .github/workflows
	@$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify --keep-id --extra-keys '$(STRIP_KEYS)' $(NOTEBOOKS))
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(NODE_TOOLS) && npm run --silent lint; $(NO_NODE)

dist: $(TOOLS)
	@rm -rf dist/lowcap-* build
	@.tools/bin/python -m build --outdir dist .
	@.tools/bin/twine check --strict dist/lowcap-*

archive: $(READY)
	@$(BIN)/lowcap archive --out dist/book.zip

audit: $(TOOLS)
	@.tools/bin/pip-audit --strict --disable-pip --no-deps --requirement requirements.txt || { \
	    echo "Either a package has a known vulnerability, or the list of them cannot be reached: see above." >&2; exit 1; }

# Every file of every platform, so the lock holds wherever packages come from their registry or from a true copy of it.
# The two packages that are left out have several builds (CPU, CUDA, the systems' own) under one version.
lock: $(TOOLS)
	@.tools/bin/uv pip compile --quiet --universal --no-deps --generate-hashes --no-annotate \
	    --custom-compile-command 'make lock' --no-emit-package torch --no-emit-package torchvision \
	    --python-version 3.11.5 --output-file .ci/requirements.lock requirements.txt

bench: $(READY)
	@$(BIN)/python -m benchmarks $(if $(JSON),--json '$(JSON)') $(if $(README),--readme '$(README)')

clean:
	rm -rf _build book/_generated .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Tools for the JavaScript; the book itself needs none of them. Not `npm ci`: the lock file has the checksums of some
# platforms only, and `npm ci` refuses all others. The versions are exact in package.json.
$(NODE_TOOLS): package.json package-lock.json
	@npm install --silent --no-save && touch $@

# The mark is written last, so a set-up that was interrupted starts again.
$(READY): requirements.txt pyproject.toml
	@start=$$(date +%s); rm -f $@; \
	python=$$(for one in $(CANDIDATES); do \
	    "$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; done); \
	if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer is needed; none among: $(CANDIDATES). Install one, or name it: make PYTHON=PATH" >&2; \
	    exit 1; \
	fi; \
	[ -x $(BIN)/pip ] || "$$python" -m venv $(VENV) || exit 1; \
	if [ -n "$(LOCKED)" ]; then $(PIP) --require-hashes --no-deps -r .ci/requirements.lock || exit 1; fi; \
	$(PIP) -r requirements.txt && \
	$(PIP) --quiet --no-deps --no-build-isolation -e . && \
	touch $@ && echo "Set-up took $$(($$(date +%s) - start)) s."

# What releases and audits need, and the book does not: kept apart, since their own requirements are many.
$(TOOLS): .ci/tools.txt $(READY)
	@rm -f $@; [ -x .tools/bin/pip ] || $(BIN)/python -m venv .tools || exit 1; \
	.tools/bin/pip install --disable-pip-version-check --quiet -r .ci/tools.txt && touch $@
