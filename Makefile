# One command each, the same by hand and in CI. Works with the make of macOS (GNU make 3.81).
#   PYTHON=python3.12 make env    another interpreter
#   PYTEST="-x -k window" make check    more arguments for pytest
#   PROCESSES=1 make check             one test after the other

VENV ?= .venv
PY := $(VENV)/bin/python
PYTEST ?=
# Most tests that take long wait.
PROCESSES ?= 4
FUZZ_SECONDS ?= 600
# Beside the oldest that we support, which runs everything else here.
PYTHONS ?= python3.12 python3.13

SPLUNK_ENV := VENV=.cache/splunk tools/make-env splunk

ROOMS := detector telemetry otlp_receiver store exporter otel_shell_detector
# Everything that is typed and linted. tools/verify-docs has no ending, for it is a command.
TYPED := $(ROOMS) bench tests $(wildcard demo/*.py fuzz/*.py tools/*.py tools/verify-docs)
# The rooms where a wrong branch means a shell that nobody sees: no branch of them goes untested.
EXACT := detector otlp_receiver
OTHERS := $(filter-out $(EXACT),$(ROOMS))

empty :=
comma := ,
files_of = $(subst $(empty) $(empty),$(comma),$(addsuffix /*,$(1)))

.DEFAULT_GOAL := help
.PHONY: help demo check test points soak fuzz bench bench-check bench-scale bench-replay image-test sbom lint env peers splunk-app splunk-env docs locks check-pythons clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

demo: ## see the service find shells in a real capture, in a minute
	@VENV=$(VENV) tools/make-env runtime
	@$(PY) demo/run.py

check: lint ## lint, unit and property tests, no peers: the inner loop
	$(PY) -m pytest -n $(PROCESSES) -m "not peers and not slow" $(PYTEST)

test: env ## everything: builds the peers, runs every test, holds the coverage
	@{ peers/build --all >/dev/null && $(SPLUNK_ENV); } || \
	    { echo "The tests that need these peers are skipped by name, unless CI=true."; [ "$$CI" != true ]; }
	@mkdir -p .cache/coverage
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -n $(PROCESSES) $(PYTEST)
	@$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --include='$(call files_of,$(EXACT))' --fail-under=100
	@set -e; for room in $(OTHERS); do set -x; \
	    $(PY) -m coverage report --include="$$room/*" --fail-under=90; { set +x; } 2>/dev/null; done

points: env ## the points of attacks and of what is benign on the captures, before and after: docs/tuning.md
	@$(PY) -m tests.expectations.points

soak: env ## the long form of what takes minutes: overload, and ten times as many kills
	SOAK=1 $(PY) -m pytest -o timeout=7200 tests/otlp_receiver/test_overload.py tests/reliability $(PYTEST)

CORPUS := tests/otlp_receiver/corpus
FUZZER := $(PY) -m fuzz.requests -max_len=6144 -timeout=10 -rss_limit_mb=1024 -artifact_prefix=.cache/fuzz/

fuzz: env ## let a fuzzer guided by coverage write requests (FUZZ_SECONDS=600); keep those that reach more
	@$(PY) -c 'import atheris' 2>/dev/null || \
	    { echo "make fuzz: atheris is missing: there is none but for x86_64 Linux and Python before 3.14"; exit 2; }
	@mkdir -p .cache/fuzz/found
	@$(PY) -m fuzz.seeds .cache/fuzz/seeds
	$(FUZZER) -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 .cache/fuzz/found $(CORPUS) .cache/fuzz/seeds
	$(FUZZER) -merge=1 $(CORPUS) .cache/fuzz/found

bench: env ## the service beside other receivers on the same requests: docs/performance.md (10 minutes)
	@for peer in collector-agent hec-server; do peers/build $$peer >/dev/null || exit 1; done
	$(PY) -m bench.contest
	@$(PY) tools/verify-docs --write

bench-check: env ## count instructions with valgrind, fail if they grew; WRITE=1 a new baseline, COMPARE=checkout
	$(PY) -m bench.counts $(if $(WRITE),--write) $(if $(COMPARE),--compare $(COMPARE))
	@$(if $(WRITE),$(PY) tools/verify-docs --write)

bench-replay: env ## replay of a day, and the start with much to read: docs/performance.md (7 minutes)
	$(PY) -m bench.replay
	@$(PY) tools/verify-docs --write

bench-scale: env ## what the service uses by nodes, processes, shells and sessions: docs/performance.md (ONLY=fleet,nodes)
	$(PY) -m bench.scale $(if $(ONLY),--only $(ONLY))
	$(PY) tools/verify-docs --write

image-test: env ## build the image and run it as a cluster does; its size and time to start (needs root, Debian)
	@peers/build hec-server >/dev/null
	@rm -f .cache/image/measured.json
	$(PY) -m pytest tests/image $(PYTEST)
	@cat .cache/image/measured.json

sbom: env ## what the image holds beside its base: dist/otel-shell-detector.cdx.json (CycloneDX)
	@mkdir -p dist
	@$(PY) tools/sbom.py >dist/otel-shell-detector.cdx.json

lint: env ## ruff, mypy, the room table, the Dockerfile, generated documents
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy $(TYPED)
	$(VENV)/bin/lint-imports --no-logo --cache-dir .cache/import-linter
	$(VENV)/bin/hadolint Dockerfile
	$(PY) tools/verify-docs
	$(PY) tools/chart.py
	$(PY) tools/collector.py

env: ## the environment of the above, made anew when locks/ or pyproject.toml change
	@VENV=$(VENV) tools/make-env dev

peers: ## build the real peers of the tests: collector, HEC server, API server, Helm (needs Go)
	@peers/build --all >/dev/null

splunk-app: env ## build the Splunk app: dist/TA-otel-shell-detector-VERSION.tar.gz
	@$(PY) tools/splunk_app.py

splunk-env: ## the environment of Splunk's AppInspect, for tools/appinspect.py (needs libmagic)
	@$(SPLUNK_ENV)

docs: env ## write the generated documents from the code
	$(PY) tools/verify-docs --write
	$(PY) tools/chart.py --write
	$(PY) tools/collector.py --write

locks: ## pin the dependencies again (needs uv); LOCKS_UPGRADE=1 moves every pin
	@locks/update

check-pythons: ## unit and property tests on each other Python that we support and this machine has
	@set -e; for python in $(PYTHONS); do \
	    if ! $$python --version >/dev/null 2>&1; then echo "$$python: not on this machine"; continue; fi; \
	    PYTHON=$$python VENV=.cache/venv-$$python tools/make-env dev; \
	    .cache/venv-$$python/bin/python -m pytest -q -n $(PROCESSES) -o cache_dir=.cache/pytest-$$python \
	        --hypothesis-profile=few -m "not peers and not slow" $(PYTEST); \
	done

clean: ## remove what these commands made here (the built peers stay in their cache)
	rm -rf .venv .cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
