# `make` lists what can be done here. Everything runs in .venv, which the first call sets up.

PYTHON ?= python3
WORKERS ?= 2
SECONDS ?= 3600
SEED ?= 0

VENV := .venv
# With .venv/bin first on the path a recipe reads like the command a user would type.
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
INSTALL := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

# Named after the interpreter, so that `make PYTHON=python3.12 test` never runs in another one's environment.
MADE := $(VENV)/.made-by-$(subst /,_,$(PYTHON))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check long site soak audit format fuzz wheel
# The targets share .venv: `make -j` must not install into it twice at once.
.NOTPARALLEL:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  PYTHON=python3.12 chooses the interpreter, WORKERS=4 the number of test processes.'

# An earlier demo's run is moved aside, not deleted: training never overwrites runs/my-cat (it exits with 2), and
# what lies there may just as well be a run of your own cat.
demo: $(VENV)/.installed  ## train <my-cat> on the bundled pictures and model
	@if [ -e runs/my-cat ]; then \
		old="runs/my-cat-$$(date +%Y%m%d-%H%M%S)"; mv runs/my-cat "$$old"; echo "The earlier run is now in $$old"; fi
	@if [ ! -e runs/my-cat ]; then rm -f runs/manifest/my-cat.json; fi  # which says that runs/my-cat is finished
	$(RUN) accelerate launch train.py --token "<my-cat>"

# Two processes with a thread each, not one with two threads: the tests' tensors are too small to be shared out.
test: $(VENV)/.installed-dev  ## run the tests, offline
	$(RUN) OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.installed-dev  ## lint, format check, types and the order of imports
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports

long: $(VENV)/.installed-dev  ## tests of whole ways: demo, notebooks, what the pages say, a wheel, several processes
	$(RUN) OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 pytest -n $(WORKERS) --dist loadfile -m long

site: $(VENV)/.installed-dev  ## build the documentation in build/site
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

soak: $(VENV)/.installed-dev  ## a kill at every operation of tests/faults, 108 faults, killed processes and workers, 300 concepts
	$(RUN) OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TI_TRAINER_FAULTS=all pytest -n $(WORKERS) --dist worksteal -m "long or not long" tests/faults tests/training/test_processes_gloo.py tests/training/test_ray_engine.py
	$(RUN) python benchmarks/soak.py

# pip-audit gets an environment of its own: nothing of it is needed to develop or to run.
audit:  ## known holes in the versions of constraints.txt, where pip-audit and its database can be reached
	@if ! { $(PYTHON) -m venv .audit && .audit/bin/python -m pip install --disable-pip-version-check -q pip-audit; }; then \
		echo "audit skipped: pip-audit cannot be installed"; \
	elif ! .audit/bin/pip-audit -r constraints.txt --no-deps --disable-pip --timeout 10 >.audit/said 2>&1; then \
		cat .audit/said; \
		if grep -qiE "connect|timed out|resolve|unreachable" .audit/said; then \
			echo "audit skipped: the database cannot be reached"; else exit 1; fi; \
	elif grep -q "could not be audited" .audit/said; then echo "audit skipped for packages that the database does not know"; \
	else tail -n 1 .audit/said; fi

format: $(VENV)/.installed-dev  ## put the code into shape
	$(RUN) ruff check --fix
	$(RUN) ruff format

# SECONDS=60 goes on for a minute; SEED=7 makes other inputs.
fuzz: $(VENV)/.installed-dev  ## read changed files for an hour, and keep those that a reader does not survive
	$(RUN) OMP_NUM_THREADS=1 python -m tests.strangers.mutations --seconds $(SECONDS) --seed $(SEED)

wheel: $(VENV)/.installed-dev  ## build the sdist and the wheel in dist/, sample data included
	$(RUN) python -m build --no-isolation --outdir dist >/dev/null
	$(RUN) twine check --strict dist/*

# A .venv of another interpreter is made anew; one that you made by hand is used as it is.
$(MADE):
	@clear=; for mark in $(VENV)/.made-by-*; do if [ -e "$$mark" ]; then clear=--clear; fi; done; \
		set -x; $(PYTHON) -m venv $$clear $(VENV)
	@touch $@

$(VENV)/.installed: $(MADE) pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(MADE) pyproject.toml constraints.txt
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed
