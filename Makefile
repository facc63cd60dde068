# make study   the study on its embedded surrogate, from nothing to outputs/study/report/index.html
# make check   while you write: ruff, and all tests but the slow ones and the notebooks
# make test    everything that CI runs: ruff, unit and property tests, every notebook
# make lab     JupyterLab on the first notebook
# make clean   removes the environment and caches; outputs/ stays
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process: the work is spread over processes, and threads that wait for a busy core cost more
# than they bring.
export OMP_NUM_THREADS ?= 1

.PHONY: study check test lab clean
.DEFAULT_GOAL := study

study: $(VENV)/.ready
	$(BIN)/python -m aqa_lib study configs/study.yaml

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadscope tests -m "not slow"

test: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadscope

lab: $(VENV)/.ready
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start.ipynb

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find aqa_lib tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "This needs Python 3.11 or newer as '$(PYTHON)'; name another one with: make PYTHON=python3.12 ..." >&2; \
	  exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,figures]'
	touch $@
