# Two commands on a fresh machine with Python 3.11 or newer, make and a C compiler: `make demo` and `make check`.
#
# They create .venv and install what requirements/*.lock pins, every file by its hash. Only PyTorch is held by an exact
# pin beside the lock (requirements/torch-cpu.txt). On Linux PyPI's PyTorch is the CUDA build, several GB. The CPU build is
# enough: it comes from TORCH_INDEX if that answers within two seconds (scripts/torch_index.py), else from pip's index.
#
# Variables:
#   PYTHON       the interpreter that makes .venv
#   ARGS         more words for demo, bench, test and nightly
#   UPGRADE      --upgrade for lock
#   BIN          the folder of an environment that has everything already: then nothing is installed
#   TORCH_INDEX  where PyTorch's CPU build is looked for; empty: nowhere. It isn't asked where PIP_INDEX_URL,
#                PIP_EXTRA_INDEX_URL or PIP_NO_INDEX is set

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo check nightly litellm sdks bench gpu sbom fmt protos lock clean install-cpu install-dev \
	format lint types layers proto-lint proto-drift client-drift dockerfile test

# The first interpreter that runs and is new enough. A name on the PATH may be a shim that starts nothing.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo "$$name" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
ARGS ?=
UPGRADE ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# A stamp's name has a checksum of the files that it stands for: a changed lock makes a new stamp.
checksum = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
STAMPS := $(VENV)/stamps
MADE := $(STAMPS)/made
CPU := $(STAMPS)/cpu-$(call checksum,requirements/cpu.lock requirements/torch-cpu.txt)
DEV := $(STAMPS)/dev-$(call checksum,requirements/cpu.lock requirements/torch-cpu.txt requirements/dev.lock)
PROJECT := $(STAMPS)/project-$(call checksum,requirements/cpu.lock pyproject.toml)

say = @printf '\n==> %s\n' "$(1)"

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: install-cpu  ## A real server, a scripted upstream, a few hundred prompts, a table
	$(call say,demo)
	@$(BIN)/semcache demo $(ARGS)

check: install-dev format lint types layers proto-lint proto-drift client-drift dockerfile test  ## All that CI checks; the tests come last

# Hours; not part of `check`, which has the short forms. One of them: make nightly ARGS='kills --kills 100 --seed 7'
nightly: install-dev  ## 1,000 kills, 500 damaged files, an hour of overload and one of fuzzing, 1,200 open streams, into build/nightly.json
	$(call say,nightly)
	@OMP_NUM_THREADS=1 $(PY) -m tests.nightly --out $(if $(OUT),$(OUT),build)/nightly.json $(ARGS)

# Another project's proxy, which the tests use as semcache's upstream. Its hundred packages have their own environment.
LITELLM := tests/e2e/.cache/litellm-$(call checksum,tests/e2e/requirements-litellm.txt)
litellm: $(LITELLM)/bin/litellm  ## LiteLLM's proxy in an environment of its own, for the test against it

$(LITELLM)/bin/litellm:
	$(call say,LiteLLM)
	@rm -rf tests/e2e/.cache/litellm-*
	@$(PYTHON) -m venv $(LITELLM)
	@$(LITELLM)/bin/python -m pip --disable-pip-version-check --no-input install -q --require-hashes -r tests/e2e/requirements-litellm.txt

# Other projects' clients, in the releases that are tested, with semcache's own package for LangChain. JavaScript's is
# left out where npm isn't installed.
CLIENTS := tests/e2e/.cache/clients-$(call checksum,tests/e2e/requirements-clients.txt pyproject.toml integrations/*/pyproject.toml)
JAVASCRIPT := tests/e2e/.cache/javascript-$(call checksum,examples/clients/javascript/package-lock.json)
sdks: $(CLIENTS)/complete $(if $(shell command -v npm),$(JAVASCRIPT)/complete)  ## Other projects' clients in environments of their own, for the tests with them

$(CLIENTS)/complete:
	$(call say,clients for Python)
	@rm -rf tests/e2e/.cache/clients-*
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --no-input install -q --no-compile --require-hashes \
		-r tests/e2e/requirements-clients.txt
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --no-input install -q --no-deps --no-build-isolation --no-index \
		--editable . --editable integrations/langchain-semcache
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check check
	@touch $@

$(JAVASCRIPT)/complete:
	$(call say,OpenAI's client for JavaScript)
	@rm -rf tests/e2e/.cache/javascript-*
	@mkdir -p $(JAVASCRIPT)
	@cp examples/clients/javascript/package.json examples/clients/javascript/package-lock.json $(JAVASCRIPT)
	@npm ci --prefix $(JAVASCRIPT) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

bench: install-dev  ## The benchmarks' tables (minutes)
	$(call say,bench)
	@$(PY) -m benchmarks $(ARGS)

# BIN names an environment with CUDA torch; without it the project's own, whose torch is for CPUs, sees no GPU and skips.
GPU_JSON ?= $(if $(OUT),$(OUT),build)/gpu.json
gpu: install-dev  ## The GPU tests and benchmark into one JSON (minutes; skipped without a GPU)
	$(call say,gpu)
	@$(PY) -m benchmarks.gpu --tests --out $(GPU_JSON)

format: install-dev
	$(call say,ruff format --check)
	@$(BIN)/ruff format --check .

lint: install-dev
	$(call say,ruff check)
	@$(BIN)/ruff check .

types: install-dev
	$(call say,mypy --strict)
	@$(BIN)/mypy semcache scripts

layers: install-dev
	$(call say,lint-imports)
	@$(BIN)/lint-imports --no-logo

proto-lint: install-dev
	$(call say,buf lint)
	@$(BIN)/buf lint

proto-drift: install-dev
	$(call say,stubs against protos)
	@$(PY) scripts/gen_protos.py --check

client-drift: install-dev
	$(call say,synchronous client against the asynchronous one)
	@$(PY) scripts/unasync.py --check

dockerfile: install-dev
	$(call say,hadolint)
	@$(BIN)/hadolint Dockerfile.cuda

test: install-dev  ## The tests alone
	$(call say,pytest)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist=worksteal $(ARGS)

# Made of the locks alone, so it needs no environment and no network.
sbom:  ## The bill of materials of both locks, CycloneDX, into build/
	$(call say,sbom)
	@for name in cpu gpu; do $(PYTHON) scripts/gen_sbom.py $$name --out build/sbom-$$name.cdx.json; done

fmt: install-dev  ## Format, and fix what the linter can
	$(call say,ruff format and fix)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only .

protos: install-dev  ## Regenerate semcache/v1 from protos/
	$(call say,stubs from protos)
	@$(PY) scripts/gen_protos.py

# Universal: one lock for every Python from 3.11 on. Locked versions stay unless UPGRADE=--upgrade.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(UPGRADE)

lock: install-dev  ## Resolve requirements/*.lock again from pyproject.toml
	$(call say,requirements/cpu.lock)
	@$(COMPILE) --config-file requirements/uv-cpu.toml --no-emit-package torch --extra cpu --extra encryption --extra reports \
		--output-file requirements/cpu.lock pyproject.toml requirements/build.in
	$(call say,requirements/gpu.lock)
	@$(COMPILE) --no-config --extra gpu --extra encryption --extra reports --constraints requirements/cpu.lock \
		--output-file requirements/gpu.lock pyproject.toml requirements/build.in
	$(call say,requirements/dev.lock)
	@$(COMPILE) --no-config --group dev --constraints requirements/cpu.lock \
		--output-file requirements/dev.lock

clean:  ## Remove .venv and what the tools left
	$(call say,clean)
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

ifeq ($(origin BIN),file)
install-cpu: $(CPU) $(PROJECT)

install-dev: $(CPU) $(DEV) $(PROJECT)
else
install-cpu install-dev: ;
endif

$(MADE):
	@test -n "$(PYTHON)" || { echo 'semcache needs Python 3.11 or newer: install one, or name it with PYTHON=…' >&2; exit 1; }
	$(call say,$(VENV) with $(PYTHON))
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) can't make a virtual environment: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

# --no-deps: the lock is the whole list. PyTorch may bring what its build needs beyond it (the CUDA build: CUDA).
$(CPU): | $(MADE)
	$(call say,requirements/cpu.lock)
	@$(PIP) install --no-deps --require-hashes -r requirements/cpu.lock
	$(call say,PyTorch)
	@$(PIP) install $$($(PY) scripts/torch_index.py '$(TORCH_INDEX)') -r requirements/torch-cpu.txt
	@rm -f $(STAMPS)/cpu-* && touch $@

$(DEV): | $(CPU)
	$(call say,requirements/dev.lock)
	@$(PIP) install --no-deps --require-hashes -r requirements/dev.lock
	@rm -f $(STAMPS)/dev-* && touch $@

# The build backend is in the lock, so with --no-build-isolation nothing more is downloaded.
$(PROJECT): | $(CPU)
	$(call say,semcache itself)
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@rm -f $(STAMPS)/project-* && touch $@
