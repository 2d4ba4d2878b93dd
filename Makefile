# make help says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
# Two notebooks, or files of tests, at a time: one spends much of its time on a single core. They
# share the cores: with more threads than cores, those that wait would keep the others from working.
JOBS ?= 2
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
notebooks geometries test: export OMP_NUM_THREADS ?= \
	$(shell expr $(CORES) / $(JOBS) \| 1 2>/dev/null || echo 1)
# The classic template is the one that writes the alt text of figures into the page. No bars: a page
# keeps every step of them.
PAGES := printf '%s\n' $(NOTEBOOKS) | TQDM_DISABLE=1 xargs -n 1 -P $(JOBS) \
	$(BIN)/python -m nbconvert --log-level=INFO --execute --to html --template classic \
	--ExecutePreprocessor.timeout=1800

.PHONY: help notebooks book geometries test matrix bench lab playground stick stamp dist lint format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  The first of them makes $(VENV), which takes some minutes."
	@echo "  CLIP_CHECKPOINT=sd1 make notebooks runs them on another CLIP; PYTHON=python3.12 picks a Python."

# Notebooks run in their own folder, so the path of a checkpoint that is a folder is made absolute.
ABSOLUTE := if [ -d "$$CLIP_CHECKPOINT" ]; then CLIP_CHECKPOINT="$$(cd "$$CLIP_CHECKPOINT" && pwd)"; fi;

# In the pages, links to notebooks become links to pages; the pages lie one folder deeper.
notebooks: $(READY) ## run every notebook; readable pages go to build/html
	$(ABSOLUTE) $(PAGES) --output-dir=build/html
	@for page in build/html/*.html; do \
		sed -e 's#href="\([0-9a-z_]*\)\.ipynb"#href="\1.html"#g' -e 's#href="\.\./#href="../../#g' \
			"$$page" > "$$page.new" && mv "$$page.new" "$$page" || exit 1; \
	done
	@echo "Done. Open the pages in build/html in a browser:"
	@ls -1 build/html/*.html

book: $(READY) ## the series as a site with search, from the stored outputs: build/book
	$(BIN)/python tools/book/make.py build/book

geometries: $(READY) ## the same on random weights in the true shapes of SD 1 and SD 2
	for shape in sd1 sd2; do \
		$(BIN)/python tests/random_checkpoint.py $$shape build/random/$$shape && \
		(export CLIP_CHECKPOINT="$(CURDIR)/build/random/$$shape"; $(PAGES) --output-dir=build/html/$$shape) \
			|| exit 1; \
	done

test: $(READY) lint ## check the code, the helpers and the stored output of every notebook
	env -u CLIP_CHECKPOINT $(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile \
		--no-loadscope-reorder

# SETS="colab" runs one of them; ARGS="tests/test_tokens.py" limits it, and then nothing is written.
matrix: ## all tests on three sets of versions (an hour or two; QUICK=1: a third); table in README.md
	$(PYTHON) tools/matrix/run.py $(SETS) $(if $(QUICK),--quick) $(if $(ARGS),-- $(ARGS))

# PARTS="million notebooks" takes half an hour or more; without PARTS it is what takes minutes.
BENCH := build/bench-venv
bench: $(BENCH)/.ready ## measure beside other libraries; tables go to docs/speed.md
	PYTHONPATH="$(CURDIR)" $(BENCH)/bin/python -m tools.bench $(PARTS)

$(BENCH)/.ready: tools/bench/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

lab: $(READY) ## open the notebooks in JupyterLab
	$(ABSOLUTE) $(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks

playground: $(READY) ## build the page that computes in a browser (needs npm): build/playground
	$(BIN)/python tools/playground/build.py build/playground

stick: $(READY) ## make a folder to install from without a network, for a USB stick
	$(BIN)/python tools/stick/make.py build/stick

stamp: $(READY) ## renew the first cells; ADDRESS=https://github.com/... writes the project's address
	$(BIN)/python tools/stamp/stamp.py $(if $(filter undefined,$(origin ADDRESS)),,--address "$(ADDRESS)")

DIST := build/dist-venv
dist: $(READY) $(DIST)/.ready ## a wheel and an sdist for the registry, looked at: build/dist
	rm -rf build/dist
	$(BIN)/python -m hatchling build --directory build/dist
	$(DIST)/bin/python -m twine check --strict build/dist/*

$(DIST)/.ready:
	$(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet --disable-pip-version-check twine==6.2.0
	@touch $@

lint: $(READY) ## check style, format and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

format: $(READY) ## put style and format right
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

clean: ## delete what the other commands made
	rm -rf $(VENV) build

# Where there is a Chromium, the tests look at pages in it.
# matplotlib is imported once so that no notebook has to build its list of fonts
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Python 3.11 or newer is needed, and $(PYTHON) is %d.%d. If you have a newer one: make PYTHON=python3.12 ..." % v[:2])'
	@echo "Making $(VENV) and installing packages; pip prints nothing for some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@! command -v chromium chromium-browser google-chrome >/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/browser.txt
	$(BIN)/python -c 'import matplotlib.font_manager'
	@touch $@
