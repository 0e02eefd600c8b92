# make        set up .venv and run the demo        make test   set up .venv, check, and test
# make check  lint, types, spelling                make lab    open the course in Jupyter
# make notebooks  run every notebook               make student  write them without solutions, to runs/student

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test check lab notebooks student clean

demo: $(READY)
	$(BIN)/minicfg demo

test: check
	$(BIN)/python -m pytest -n 2 --ignore tests/test_mistakes.py
	$(BIN)/python -m pytest tests/test_mistakes.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/codespell

lab: $(READY)
	$(BIN)/jupyter lab notebooks

notebooks: $(READY)
	$(BIN)/python -m pytest --nbmake --durations 0 notebooks/*.ipynb

student: $(READY)
	$(BIN)/python notebooks/student.py

# Installed again when what it was made from changes. The lecture's one price for importing what you
# see: an editable install, in an environment of its own.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv: a few minutes, the first time."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,peers]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt denoising-diffusion-pytorch smalldiffusion
	touch $@

clean:
	rm -rf .venv runs
