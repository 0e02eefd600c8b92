# make            set up .venv and run the demo    make lab      open the course in Jupyter
# make notebooks  run every notebook               make student  write them without solutions, to runs/student
# make book       the course as pages, in runs/book
# make test       check; the tests, with a sample of the exhaustive ones and of the bank of mistakes
# make check      format, lint, types, spelling    make bank     every mistake of the bank
# make hardening  the tests that make test leaves out            make nightly  everything, for hours
# make locked set up .venv from files known by their SHA-256 (Linux x86-64, Python 3.11)

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
BOOK := .venv/book

.PHONY: demo test check bank hardening lab notebooks student book nightly locked clean

demo: $(READY)
	$(BIN)/minicfg demo

# The forks of the bank read compiled tests, which some environments tell Python not to write.
test bank hardening nightly: export PYTHONDONTWRITEBYTECODE =

# The bank runs apart: it has two processes of its own, and stops a mistake after a minute.
test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal --cases sample --ignore tests/test_mistakes.py
	$(BIN)/python -m pytest --cases sample tests/test_mistakes.py

bank: $(READY)
	$(BIN)/python -m pytest tests/test_mistakes.py

hardening: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cases rest --ignore tests/test_mistakes.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/codespell

lab: $(READY)
	$(BIN)/jupyter lab notebooks

notebooks: $(READY)
	$(BIN)/python -m pytest -p nbmake.pytest_plugin --nbmake --durations 0 notebooks/*.ipynb

student: $(READY)
	$(BIN)/python notebooks/publish/student.py

book: $(BOOK)
	$(BIN)/python notebooks/book/build.py

$(BOOK): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book]'
	touch $@

# Installed again when what it was made from changes. The lecture's one price for importing what you
# see: an editable install, in an environment of its own.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv: a few minutes, the first time."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,peers,instructor]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt denoising-diffusion-pytorch smalldiffusion
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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tests/supply/hashes.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(READY)

clean:
	rm -rf .venv runs
