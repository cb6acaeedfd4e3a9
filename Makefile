# make demo: the whole pipeline on an embedded miniature of the datasets.   make test: every test.
.DEFAULT_GOAL := help
.PHONY: help setup setup-rivals setup-fmri demo test test-slow faults coverage sample standard ship tiny lint docs clean

PYTHON ?= python3
BIN := .venv/bin
CORES ?= 2
PLANS := config demo finetuning hbn known_lags loso sample smoke standard tiny # what lint reads; a file in config/ may hold other things
MIRROR ?=
POINTS ?= 10 # kill points a fault
export CLDTRANS_MIRROR := $(abspath $(MIRROR))
# One thread a numeric library: jobs run side by side instead, and results do not depend on the machine.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready ## create .venv with everything pinned

.venv/ready: pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# The CPU build of torch first and alone: other installers' resolvers would pick a GPU build.
	$(BIN)/python -m pip install --quiet $(if $(ROCM_WHEEL_INDEX),--index-url $(ROCM_WHEEL_INDEX) torch,"$$(grep ^torch== constraints.txt)")
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs,pipeline,baselines,connectivity,deploy,intracranial,xarray]"
	touch $@

setup-rivals: .venv-rivals/ready ## VARLiNGAM and PCMCI+ (GPL-3) in an environment of their own

.venv-rivals/ready: envs/rivals.txt
	test -x .venv-rivals/bin/python || $(PYTHON) -m venv .venv-rivals
	.venv-rivals/bin/python -m pip install --quiet --requirement envs/rivals.txt
	touch $@

setup-fmri: .venv-fmri/ready ## nilearn, for volumes of fMRI, in an environment of its own

.venv-fmri/ready: envs/fmri.txt
	test -x .venv-fmri/bin/python || $(PYTHON) -m venv .venv-fmri
	.venv-fmri/bin/python -m pip install --quiet --requirement envs/fmri.txt
	touch $@

demo: setup ## the whole pipeline on the embedded miniature, about 10 minutes on 2 cores
	$(BIN)/python -m cldtrans run --configfile config/demo.yaml --cores $(CORES)

tiny: setup ## the same DAG in its smallest form, about a minute
	$(BIN)/python -m cldtrans run --configfile config/tiny.yaml --cores $(CORES)

sample: setup ## real recordings from a local mirror: make sample MIRROR=path
	@test -n "$(MIRROR)" || { echo "make sample needs MIRROR=<folder laid out like the bucket>" >&2; exit 2; }
	@test -d "$(MIRROR)" || { echo "make sample: no folder $(MIRROR)" >&2; exit 2; }
	$(BIN)/python -m cldtrans run --configfile config/sample.yaml --cores $(CORES)

standard: setup ## the checkpoint on which model figures are judged, at most 45 minutes on 2 cores
	# A process a core: threads of one would wait for each other hundreds of times a step, far longer beside other jobs.
	$(BIN)/python -m cldtrans run --configfile config/standard.yaml --cores $(CORES) --set-resources train_stage1:procs=2

ship: standard ## put that checkpoint into the package
	$(BIN)/python benchmarks/ship.py results/standard/checkpoints/stage1/cldtrans/seed-42

test: setup lint ## every test but the long ones
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile

test-slow: setup ## the tests that take minutes each
	$(BIN)/python -m pytest -m long

faults: setup ## the full matrix of faults, ten kill points each; its table goes to docs/reliability.md
	CLDTRANS_FAULT_POINTS=$(POINTS) CLDTRANS_FAULTS_TABLE=docs/reliability.md \
		$(BIN)/python -m pytest -m fault tests

coverage: setup ## which lines no test runs, beside every test but the workflow's
	$(BIN)/python -m pytest -m "not workflow and not long" --cov=cldtrans --cov-report=term-missing:skip-covered

lint: setup ## style, types, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile rules
	$(foreach plan,$(PLANS),$(BIN)/snakemake --configfile config/$(plan).yaml --lint &&) true

docs: setup ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## remove results and prepared data of the demo and test runs (never data/raw)
	rm -rf results/demo results/tiny data/demo data/tiny logs/demo logs/tiny
