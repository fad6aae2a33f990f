# Two commands do everything: `make demo` and `make test`. The rest is for people who build fedrad.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
export OMP_NUM_THREADS ?= 1
export FLWR_TELEMETRY_ENABLED = 0

.PHONY: demo test test-long check layers format clean images site-bundle
.DELETE_ON_ERROR:

demo: welcome $(VENV)/.demo
	$(BIN)/fedrad-sim run four_hospitals --out runs/four_hospitals --fresh --kill-in-round 7

.PHONY: welcome
welcome:
	@test -e $(VENV)/.demo -o -e $(VENV)/.dev || echo "fedrad demo: downloads about 0.6 GB of Python packages into $(VENV) (once, 2 to 6 minutes), then trains four phantom hospitals (up to 4 minutes on 2 cores)."

test: $(VENV)/.dev
	$(MAKE) --no-print-directory check

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory layers
	$(BIN)/pytest -n 2 --dist loadfile -m "not long"

test-long: $(VENV)/.dev
	$(BIN)/pytest -m long

layers:
	$(BIN)/lint-imports

format:
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fedrad needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[site]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[site,pacs,ray,dev]'
	touch $@ $(VENV)/.demo

# Containers (docs/containers.md). BUILD_OPTIONS go to the engine's build: --build-arg BASE=..., -v DIR:DIR, ...
ENGINE ?= podman
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

images:
	docker/build.sh "$(ENGINE)" $(BUILD_OPTIONS)

site-bundle:
	@test -n "$(KEY)" || { echo "name the release key: make site-bundle KEY=release.key"; exit 2; }
	ENGINE="$(ENGINE)" docker/bundle.sh localhost/fedrad-site "$(KEY)" dist/fedrad-site-$(VERSION).tar.gz

clean:
	rm -rf $(VENV) runs build dist *.egg-info
