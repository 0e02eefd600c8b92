# make            run the demo                      make lab        open the course in Jupyter, without
#                                                                   the solutions, in runs/student
# make test       check; the tests, with a sample   make solutions  open it with the solutions
#                 of the exhaustive ones and of     make book       write the course as pages, to runs/book
#                 the bank of mistakes              make notebooks  run every notebook
# make bank       every mistake of the bank         make hardening  the tests that make test leaves out
# make check      format, lint, types, spelling     make nightly    everything, for hours
# make locked     make .venv from files whose SHA-256 is known (Linux x86-64, Python 3.11; pip has to
#                 find the build of torch without CUDA)
# Each target first installs into .venv what it needs and what is not there yet.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One stamp file per extra of pyproject.toml: an extra is installed when a target first needs it, and
# again when pyproject.toml or constraints.txt changes.
EXTRAS := torch notebooks dev instructor peers book
READY := .venv/torch
CHECKS := $(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/basedpyright && $(BIN)/codespell

.PHONY: demo test check bank hardening lab solutions notebooks book nightly locked clean
.NOTPARALLEL: # two pips must not write into one environment at the same time

demo: $(READY)
	$(BIN)/minicfg demo

# The forks of the bank read compiled tests, which some environments tell Python not to write.
test bank hardening nightly: export PYTHONDONTWRITEBYTECODE =

# The bank runs apart, because it has two processes of its own. The checks run beside it, because
# neither of the two occupies two cores all the time.
test: $(READY) .venv/dev
	{ $(CHECKS); } & checks=$$!; \
	$(BIN)/python -m pytest --cases sample tests/test_mistakes.py; bank=$$?; \
	wait $$checks && exit $$bank
	$(BIN)/python -m pytest -n 2 --dist worksteal --cases sample --ignore tests/test_mistakes.py

# CASES=rest leaves out the sample of `make test`.
bank: CASES ?= all
bank: $(READY)
	$(BIN)/python -m pytest --cases $(CASES) tests/test_mistakes.py

hardening: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cases rest --ignore tests/test_mistakes.py

check: $(READY)
	$(CHECKS)

# Notebooks that are there already are left as they are, with the work that is in them.
lab: $(READY) .venv/notebooks
	$(BIN)/python notebooks/publish/student.py
	$(BIN)/jupyter lab runs/student

solutions: $(READY) .venv/notebooks
	$(BIN)/jupyter lab notebooks

notebooks: $(READY) .venv/notebooks
	$(BIN)/python -m pytest -p nbmake.pytest_plugin -n 2 --dist worksteal --nbmake --durations 0 notebooks/*.ipynb

book: $(READY) .venv/book
	$(BIN)/python notebooks/book/build.py

# The gate skips no test for want of a package.
check: .venv/dev
test bank hardening: .venv/instructor .venv/peers
nightly: .venv/dev

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit("This is Python " + sys.version.split()[0] + ", and minicfg needs 3.11 or newer. Name another one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	touch $@

# The install is editable, because the lessons that you read are the modules that Python imports.
$(EXTRAS:%=.venv/%): .venv/%: .venv/created pyproject.toml constraints.txt
	@echo "Installing the extra $* into .venv: up to a few minutes."
	$(INSTALL) -c constraints.txt -e '.[$*]'
	touch $@

# What these two depend on is used by their training scripts, which no test runs.
.venv/peers: .venv/peers-no-deps

.venv/peers-no-deps: .venv/torch
	$(INSTALL) --no-deps -c constraints.txt denoising-diffusion-pytorch smalldiffusion
	touch $@

nightly: test bank hardening
	$(BIN)/python -m tests.hardening.fuzz_loader --n 1000000
	$(BIN)/python -m tests.hardening.kill_save --n 200
	$(BIN)/python -m tests.hardening.kill_resume --n 50
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	$(BIN)/python -m tests.mutants
	for seed in $$(seq 100); do MINICFG_TEST_SEED=$$seed $(BIN)/python -m pytest -q tests/minicfg/test_law.py || exit 1; done

locked:
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) --require-hashes --no-deps -r tests/supply/hashes.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch .venv/created
	touch .venv/peers-no-deps $(EXTRAS:%=.venv/%)

clean:
	rm -rf .venv runs
