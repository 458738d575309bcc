# make demo   build an environment, install, and run the main job on the bundled clip
# make test   install what the tests need, check the code, run the tests
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Installing is skipped while none of these is newer than the stamp.
INPUTS := setup.py pyproject.toml constraints.txt $(wildcard csrc/*)

.DEFAULT_GOAL := help
.PHONY: help tools install dev demo test lint sanitize format wheel clean

help:
	@echo "make demo    build, install, run the main job on the bundled clip; results in $(OUT)"
	@echo "make test    check the code and run the tests"
	@echo "make lint    ruff, mypy and the import direction only"
	@echo "make sanitize  the C++ core under the sanitizers of the compiler"
	@echo "make format  let ruff lay out the code"
	@echo "make wheel   build the wheel into dist/"
	@echo "make clean   remove what was built (the environment too)"

tools:
	@scripts/check_tools.sh "$(PYTHON)"

$(BIN)/python: | tools
	"$(PYTHON)" -m venv $(VENV)

# Editable, in setuptools' default mode: it maps kernels/ and pipeline/ into the package, and edits need no new install.
$(VENV)/.base: $(INPUTS) | tools $(BIN)/python
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(INPUTS) | tools $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.base

install: $(VENV)/.base
dev: $(VENV)/.dev

demo: $(VENV)/.base
	$(BIN)/python -m mixsynth_stream demo --out $(OUT)
	@echo "Results: $(abspath $(OUT))"

test: lint
	$(BIN)/python -m pytest -q

# mypy cannot follow the mapping of kernels/ and pipeline/ into the package: a tree of links shows it the installed layout.
TREE := build/typecheck
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf $(TREE) && mkdir -p $(TREE)/mixsynth_stream
	@ln -s $(CURDIR)/mixsynth_stream/* $(CURDIR)/kernels $(CURDIR)/pipeline $(TREE)/mixsynth_stream/
	cd $(TREE) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p mixsynth_stream
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_house.py

# The C++ core alone, without Python: wrong addresses, undefined behaviour and races, with each kind of register.
CORE := $(filter-out csrc/bindings.cpp,$(wildcard csrc/*.cpp)) tests/native/forward_check.cpp
sanitize:
	@mkdir -p build
	@set -e; for kind in address,undefined thread; do \
	    echo "-fsanitize=$$kind"; \
	    $(CXX) -std=c++17 -O1 -g -fsanitize=$$kind -fno-sanitize-recover=all -Icsrc $(CORE) -pthread -o build/forward_check; \
	    for bits in 128 256 512; do MIXSYNTH_SIMD=$$bits build/forward_check; done; \
	done

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# build/lib is removed first: setuptools would pack what a removed module left there.
wheel: | tools $(BIN)/python
	rm -rf build/lib build/lib.* build/bdist.* dist
	$(PIP) wheel -q --no-deps -w dist .
	@ls dist/*.whl

clean:
	rm -rf build dist out $(VENV) *.egg-info mixsynth_stream/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
