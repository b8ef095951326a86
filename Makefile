# Raylift: `make demo` shows it working on real meshes, `make test` checks it. Both make their own environment.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
DEMO   := runs/demo
# Test processes; each takes about 2 GB.
TESTERS ?= 2
# Trainers and data tasks share the cores: more threads than cores only get in each other's way.
export OMP_NUM_THREADS ?= 1
# Ray starts a dozen processes a run. Where bytecode may not be written, each compiles all that it imports: half its start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help env demo test lint types contracts unit clusters bench lock clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

env: $(VENV)/.ready ## The virtual environment, from requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or set PYTHON=/path/to/python3"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { echo "the venv module is missing (Debian: apt-get install python3-venv)"; exit 1; }
	@command -v uv >/dev/null || test -x $(VENV)/bin/uv || $(PY) -m pip install --quiet uv
	@PATH="$(PATH):$(abspath $(VENV))/bin"; \
	  uv pip install --quiet --python $(PY) -r requirements.lock && uv pip install --quiet --python $(PY) --no-deps -e .
	@touch $@

demo: env ## Fetch furniture, train the quick implicit recipe, evaluate, reconstruct (about 15 minutes on 2 cores)
	$(PY) jobs/demo.py --out $(DEMO)

test: lint types contracts unit ## Lint, types, architecture contracts, tests (under 15 minutes on 2 cores)

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: env
	$(VENV)/bin/mypy

contracts: env
	$(VENV)/bin/lint-imports

unit: env
	$(PY) -m pytest -q -n $(TESTERS) --no-loadscope-reorder

clusters: env ## The tests on Ray clusters of several nodes, with jobs by submission (about 10 minutes on 2 cores)
	$(PY) -m pytest -q -m cluster tests/distributed

bench: env ## The benchmarks, on what the demo left; each prints ratios from one run
	@test -d $(DEMO)/data || { echo "there is no $(DEMO)/data: run make demo first"; exit 1; }
	@for file in "step.py --data $(DEMO)/data" "feed.py $(DEMO)/data" checkpoint.py rasterizer.py soft_rasterizer.py \
	  volume_rendering.py extraction.py "signed_distance.py $(DEMO)/furniture" adaptive_gradient.py asha.py; do \
	  echo "== $$file"; PYTHONPATH=. $(PY) tests/benchmarks/$$file || exit 1; done

lock: ## Pin requirements.lock again from pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-annotate \
	  --all-extras pyproject.toml -o requirements.lock

clean: ## Remove the environment and caches (runs and data stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
