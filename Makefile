# Needs Python 3.11 or later and make. Everything is installed into .venv: by uv where it is, else by pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt
INSTALL := $(if $(UV),uv pip install -q --python $(BIN)/python -c constraints.txt,$(PIP))
# pip compiles on one core; this does on all. Some packages ship files that are no Python of ours: their errors are not ours.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not vllm"
SEEDS := 1 2 3
ASKED :=
ifeq ($(QUICK),1)  # one seed, and the files whose tests ask the most
SEEDS := 1
ASKED := tests/acceptance $(patsubst %,tests/integration/test_%.py,conversations evaluation ingest llamaindex service)
endif
ASK = printf '\n> %s\n' "$(1)"; $(DEMO) ask "$(1)"; echo
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/citewell/demo
DEMO := CITEWELL_EMBEDDER__CACHE_DIR=$(CACHE) CITEWELL_CONFIG=examples/record_shop/citewell.toml $(BIN)/citewell

.PHONY: help demo serve run test test-noise unit test-install test-vllm test-crash test-sync-fuzz test-security test-tokens test-fuzz lint
.PHONY: bench bench-ingest bench-latency bench-retrieval bench-cache bench-sync bench-service bench-page pictures clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; set PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV) $(if $(UV),with uv,with pip; it takes a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(if $(UV),--without-pip) $(VENV)
	@$(INSTALL) -e '.[docs]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; set PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "Installing with what the tests need into $(VENV) (about two minutes the first time) …"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch -e '.[docs,postgres,mysql,dev]'
	@$(COMPILE)
	@{ command -v npm && npm install --prefix tests/clients --no-audit --no-fund --silent; } >/dev/null || \
		echo "npm is missing, or has no registry: OpenAI's JavaScript client is not tested"
	@touch $(VENV)/installed $@

node_modules/.installed: package.json
	@{ command -v npm && npm install --no-audit --no-fund --silent && touch $@; } >/dev/null || \
		echo "npm is missing, or has no registry: the page's JavaScript is not checked"

$(VENV)/installed-bench: $(VENV)/installed-dev
	@$(PIP) -e '.[docs,postgres,mysql,dev,bench]'
	@touch $@

demo: $(VENV)/installed  ## install, read in the sample handbook and record shop, ask three questions
	@$(DEMO) ingest handbook
	@$(call ASK,员工每年有多少天年假？)
	@$(DEMO) ingest shop
	@$(call ASK,Which albums did AC/DC release?)
	@$(call ASK,How long can an unopened record be returned?)
	@printf '\nOpen the web page with: make serve\n'

serve run: $(VENV)/installed  ## serve the sample's REST API and web page
	@$(DEMO) serve

test: $(VENV)/installed-dev  ## all tests but the slow lanes; NOISE=1 makes the embedder's vectors another processor's
	@$(if $(NOISE),TEST_NOISE=$(NOISE)) $(PYTEST)

test-noise: $(VENV)/installed-dev  ## the tests with the vectors of three made-up processors
	@for seed in $(SEEDS); do echo "noise $$seed"; TEST_NOISE=$$seed $(PYTEST) $(ASKED) || exit 1; done

unit: $(VENV)/installed-dev  ## the tests without I/O
	@$(BIN)/python -m pytest -q tests/unit

test-crash: $(VENV)/installed-dev  ## end an ingest at every commit boundary, run it again, compare
	@$(BIN)/python -m tests.crash

test-sync-fuzz: $(VENV)/installed-dev  ## random transactions and broken runs, compared with a clean rebuild
	@$(BIN)/python -m tests.sync_fuzz

test-security: $(VENV)/installed-dev  ## attack labels, secrets, rights, children, streams, limits, tokens; how many got through
	@$(BIN)/python -m tests.security

test-inversions: $(VENV)/installed-dev  ## invert 50 deciding branches, one at a time; which of them no unit test notices
	@$(BIN)/python -m tests.inversions

test-install:  ## install a clone from nothing and ask; seconds, megabytes (INSTALLER=pip, QUICK=1)
	@$(PYTHON) -m tests.install

test-vllm: $(VENV)/installed-dev  ## ask a real vLLM server on the CPU
	@$(BIN)/python -m pytest -q -m vllm

test-tokens: $(VENV)/installed-dev  ## count 1,000 prompts beside a real vLLM with Qwen2.5's tokenizer
	@$(BIN)/python -m tests.vllm.tokens

test-fuzz: $(VENV)/installed-dev  ## 20,000 generated and 5,000 broken requests, with planted secrets
	@$(BIN)/python -m tests.fuzz

lint: $(VENV)/installed-dev node_modules/.installed  ## ruff, mypy --strict, import contracts; tsc and prettier for the page
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@test ! -e node_modules/.installed || npm run --silent lint

bench: bench-ingest bench-latency bench-retrieval bench-cache bench-sync bench-service bench-page  ## every measured number of the README

bench-ingest: $(VENV)/installed-dev  ## full ingest of Chinook
	@$(BIN)/python -m benchmarks.ingest

bench-sync: $(VENV)/installed-bench  ## cost of keeping in step, beside LlamaIndex; memory; bytes asked of databases
	@$(BIN)/python -m benchmarks.sync
	@$(BIN)/python -m benchmarks.sync_traffic

bench-retrieval: $(VENV)/installed-bench  ## search at 10k, 100k and 500k chunks beside LlamaIndex and Haystack; int8
	@$(BIN)/python -m benchmarks.retrieval

bench-service: $(VENV)/installed-bench  ## what the service adds to its engine, beside LlamaIndex and Haystack
	@$(BIN)/python -m benchmarks.service

bench-page: $(VENV)/installed-dev  ## how soon the web page can be used, its weight, a long answer's frames
	@$(BIN)/python -m benchmarks.page

pictures: $(VENV)/installed-dev  ## take the web page's pictures in docs/images anew
	@$(BIN)/python -m tests.support.page.pictures

bench-cache: $(VENV)/installed-dev  ## prefix-cache hits by the order of passages (DATA=… for public sets)
	@$(BIN)/python -m benchmarks.prefix_cache

bench-latency: $(VENV)/installed-dev  ## question latency without the language model, at 16k and 100k chunks
	@$(BIN)/python -m benchmarks.latency

clean:
	rm -rf $(VENV) .venv-vllm examples/record_shop/.citewell
