# Every target makes or reuses the environment .venv by itself.
#   make book      build the book, chapters executed on the shipped data: _build/html/index.html
#                  (make book BUILD=jupyter-book: by Jupyter Book 1; the same for test and links)
#   make test      everything that must pass
#   make quick     lint and the fast tests, under a minute
#   make chapters  execute the chapters in place, storing their outputs (make chapters NAME=01_forward_model)
#   make exercises write the student form of the chapters, for Colab: _build/exercises/*.ipynb
#   make colab     run the chapters with Colab's versions (make colab NAME=01_forward_model COLAB_PYTHON=python3.13)
#   make links     ask every address that the book names whether it still answers
#   make slides    slides of the chapters from the built book, linked from them: _build/html/_static/slides/*.html
#   make pdf       the built book as one PDF, linked from its first page: _build/html/mrilab.pdf
#   make lowest    the package's tests with the lowest versions that pyproject.toml allows (PYTHON=python3.11)
#   make newest    the same with the newest of everything (PYTHON=python3.14)
#   make coverage  which lines of mrilab the quick tests reach, for the status page
#   make release   the files of a release, under the names they have there, and their SHA-256: _build/release
#   make priors    train the priors again and let them ship (days on a CPU, minutes on a GPU); commit them, then make results
#   make results   measure again what the book shows from data/results, with the priors that ship (half a day; ARGS=--jobs 2)
#   make fuzz      look for files that break the readers (make fuzz FUZZ=20000, examples to try)
#   make address   write the repository's address everywhere (make address URL=https://github.com/OWNER/NAME)
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# Chapters show what they computed; progress bars are for a reader who waits.
export TQDM_DISABLE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: env book test quick lint stored browser chapters exercises colab links slides pdf lowest newest coverage release \
  priors results address fuzz clean

env: $(READY)

# of a Python and of the variable that names it
define new_enough
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "$(1) is older than 3.11: name a newer one, as in make $(MAKECMDGOALS) $(2)=python3.11"; exit 1; }
endef

$(READY): environment.yml pyproject.toml package-lock.json tools/vendor.py
	$(call new_enough,$(PYTHON),PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed -n 's/^ *- \([^ ]*==[^ ]*\)/\1/p' environment.yml > .venv/pins.txt
	$(BIN)/pip install -qq -r .venv/pins.txt
	$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	if command -v npm > /dev/null; then npm ci && $(BIN)/python tools/vendor.py; \
	else echo "no npm: the book will load widgets and formulas from a public CDN; make test needs Node"; fi
	touch $@

# The cache of executed chapters does not notice changes in what they import and read.
SOURCES := $(shell find mrilab studies data -type f -not -path '*/__pycache__/*')
_build/sources: $(SOURCES)
	rm -rf _build/.jupyter_cache
	mkdir -p _build && touch $@

# Who builds the pages: plain Sphinx with newer versions laid over the environment, or jupyter-book, which needs the old.
# All of them every time: a page with a warning must fail the second time as well.
BUILD ?= sphinx
ifeq ($(BUILD),sphinx)
NEWER := _build/newer/ready
pages = PYTHONPATH=_build/newer:$(PYTHONPATH) $(BIN)/python -m sphinx -M $(1) book $(2)/_build --fresh-env --write-all
else
pages = $(BIN)/jupyter-book build book --builder $(1) --path-output $(2) --all
endif

_build/newer/ready: $(READY)
	rm -rf $(@D) && mkdir -p $(@D)
	sed -n 's/^#   \([^ ]*==[^ ]*\)$$/\1/p' environment.yml > $(@D)/pins.txt
	$(BIN)/pip install -qq --no-deps --target $(@D) -r $(@D)/pins.txt
	touch $@

book: $(READY) $(NEWER) _build/sources
	$(if $(MRILAB_STORED_OUTPUTS),,$(BIN)/python tools/cache.py)
	$(call pages,html,.) -W --keep-going
	@echo "open _build/html/index.html"

lint: $(READY)
	mkdir -p _build
	$(BIN)/ruff check .
	$(BIN)/ruff check --line-length 88 book/*.ipynb
	$(BIN)/lint-imports --no-cache > _build/imports.txt || { cat _build/imports.txt; exit 1; }
	$(BIN)/mypy

# the modules' own examples, and every test file but those that solve, sample or train for more than a few seconds
LONGER := augmentation classical colab conf corpus cuda datasets diffusion dry exercises files holdout house main masks \
  metrics neural_operator posterior preparation priors raw representations simulate studies train_priors training \
  variational volumes widgets writing
quick: lint
	$(BIN)/pytest -q -m "not slow" mrilab $(filter-out $(LONGER:%=tests/test_%.py),$(wildcard tests/test_*.py))

# nbval executes the chapters, so the pages under test are built from the stored outputs
stored: $(READY) $(NEWER)
	MRILAB_STORED_OUTPUTS=1 $(call pages,html,_build/stored) -W --keep-going --quiet

# lint and those pages side by side; then as many files at a time as there are cores (ARGS="-n 0" one after the other)
test: $(READY) browser
	$(MAKE) --no-print-directory --jobs 2 --output-sync lint stored
	MRILAB_PAGES=_build/stored/_build/html $(BIN)/pytest -n auto --dist loadfile --durations=10 mrilab studies tests tools book --nbval \
	  --nbval-current-env --nbval-cell-timeout=$$($(BIN)/python book/_ext/pace.py) \
	  --nbval-sanitize-with=tests/sanitize.cfg --junitxml=_build/tests.xml $(ARGS)

# tests/book opens every page in a browser; BART's own tools write files for the readers' tests, skipped without
browser:
	@install="apt-get install --quiet --yes --no-install-recommends"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then can=yes; fi; \
	command -v bart > /dev/null || [ ! "$$can" ] || { apt-get update --quiet; $$install bart || true; }; \
	for name in chromium google-chrome chromium-browser; do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$can" ]; then apt-get update --quiet && $$install chromium; \
	else echo "make test needs a browser: install chromium (sudo apt-get install chromium)"; exit 1; fi

chapters: $(READY)
	$(BIN)/python tools/execute.py $(NAME)

exercises: $(READY)
	$(BIN)/python tools/exercises.py $(NAME)

COLAB_PYTHON ?= $(PYTHON)
colab:
	$(call new_enough,$(COLAB_PYTHON),COLAB_PYTHON)
	$(COLAB_PYTHON) tools/colab.py $(NAME)

links: $(READY) $(NEWER)
	MRILAB_STORED_OUTPUTS=1 $(call pages,linkcheck,_build/links)

slides: $(READY)
	$(BIN)/python tools/slides.py $(HTML)

pdf: $(READY) browser
	$(BIN)/python tools/pdf.py $(HTML)

lowest:
	$(call new_enough,$(PYTHON),PYTHON)
	$(PYTHON) tools/versions.py lowest $(ARGS)

newest:
	$(call new_enough,$(PYTHON),PYTHON)
	$(PYTHON) tools/versions.py newest $(ARGS)

coverage: $(READY)
	$(BIN)/coverage run --data-file=_build/.coverage --source=mrilab -m pytest -q -m "not slow" mrilab tests --ignore=tests/book
	$(BIN)/coverage json --data-file=_build/.coverage -o _build/coverage.json -q
	$(BIN)/python tools/found.py _build/coverage.json

# A release has no folders: `mrilab.datasets` asks for data by the last part of their names.
RELEASED = $(wildcard dist/* _build/html/mrilab.pdf) data/volumes/*.h5 data/scans/*.h5 data/priors/*.safetensors \
  data/priors/*.json
release:
	rm -rf _build/release && mkdir -p _build/release
	cp $(RELEASED) _build/release
	cd _build/release && sha256sum -- * > ../SHA256SUMS && mv ../SHA256SUMS .

priors: $(READY)
	TQDM_DISABLE= $(BIN)/python -m studies.train_priors --all --patches 700000 --ship

results: $(READY)
	TQDM_DISABLE= $(BIN)/python -m studies all $(ARGS)

address:
	$(PYTHON) tools/address.py $(URL)

fuzz: $(READY)
	$(BIN)/python tests/fuzz.py $(FUZZ)

clean:
	rm -rf _build .venv node_modules book/_vendor
