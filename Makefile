# make demo   build an environment, install, and run the main job on the bundled clip
# make test   install what the tests need, check the code, run the tests
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# The folders of csrc/ that make mixsynth_stream._C, as in setup.py.
NATIVE := csrc csrc/cpu csrc/python
SOURCES := $(wildcard $(NATIVE:=/*.cpp))
HEADERS := $(wildcard $(NATIVE:=/*.h))
# Installing is skipped while none of these is newer than the stamp.
INPUTS := setup.py pyproject.toml constraints.txt $(SOURCES) $(HEADERS) $(wildcard csrc/cuda/*.*)

# The CUDA encoder for one kind of card builds in about a minute; a wheel is for all of them, which takes four.
MIXSYNTH_ARCH ?= one
export MIXSYNTH_ARCH
wheel: export MIXSYNTH_ARCH := all

.DEFAULT_GOAL := help
.PHONY: help tools install dev demo test lint core sanitize emulate fuzz cuda gates gpu format wheel clean

help:
	@echo "make demo    build, install, run the main job on the bundled clip; results in $(OUT)"
	@echo "make test    check the code and run the tests"
	@echo "make lint    ruff, mypy, imports and house rules only"
	@echo "make core    the C++ core alone, compiled with CXX, against the paper's formulas"
	@echo "make sanitize  the same under the sanitizers of the compiler"
	@echo "make emulate   the same on an old x86 and on ARM, as far as qemu-user is installed"
	@echo "make fuzz    the binding under AddressSanitizer, with wrong arguments, for FUZZ_S seconds"
	@echo "make cuda    the CUDA encoder without a card: every shape, emulated"
	@echo "make gates   compile the kernels for cards of all generations, without one, and judge them"
	@echo "make gpu     on a machine with a card: the kernels tested and measured, results in OUT"
	@echo "make format  let ruff lay out the code"
	@echo "make wheel   build the wheel into dist/"
	@echo "make clean   remove what was built (the environment too)"

tools:
	@scripts/check_tools.sh "$(PYTHON)"

$(BIN)/python: | tools
	"$(PYTHON)" -m venv $(VENV)

# Editable, in setuptools' default mode: it maps kernels/ and pipeline/ into the package, and edits need no new install.
# To look at the demo nobody waits for kernels of a card that is not there.
$(VENV)/.base: $(INPUTS) | tools $(BIN)/python
	MIXSYNTH_CUDA=$${MIXSYNTH_CUDA:-$$(command -v nvidia-smi > /dev/null && echo auto || echo 0)} \
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

# lint has run the rules of the house already, and `make cuda` runs every shape of the CUDA encoder. A process for each core:
# they end together, because idle ones take tests over.
ELSEWHERE = --ignore tests/test_imports.py --ignore tests/test_house.py --ignore $(CUDA_SHAPES)
test: lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal $(ELSEWHERE)

# mypy cannot follow the mapping of kernels/ and pipeline/ into the package: a tree of links shows it the installed layout.
TREE := build/typecheck
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf $(TREE) && mkdir -p $(TREE)/mixsynth_stream
	@ln -s $(CURDIR)/mixsynth_stream/* $(CURDIR)/kernels $(CURDIR)/pipeline $(TREE)/mixsynth_stream/
	cd $(TREE) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p mixsynth_stream
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_house.py

# The C++ core alone, without Python: tests/csrc/forward_check.cpp compares it with the paper's formulas.
# make core CXX=clang++ does so with another compiler.
CORE := $(filter-out csrc/python/%,$(SOURCES)) tests/csrc/forward_check.cpp
CORE_INPUTS := $(CORE) $(HEADERS) tests/csrc/paper.h tests/csrc/glance_check.h tests/csrc/crop_check.h tests/csrc/poses_check.h \
    build/core/example.inc
BUILT := build/core/$(notdir $(CXX))
# Vectors are passed between functions of one file only, so their ABI cannot differ.
BUILD_CORE = @mkdir -p $(@D) && $(1) -std=c++17 -g -Wall -Wextra -Wno-psabi -Icsrc -Ibuild/core -pthread $(2) $(CORE) \
    -o $@
# With each kind of register that this processor has; where it has them not the program says so, with exit code 2.
EACH_WIDTH = for bits in 128 256 512; do $(1) $(2) $$bits || [ $$? = 2 ] || exit 1; done

# The example of use in the header, which forward_check.cpp compiles and runs.
build/core/example.inc: csrc/mixsynth.h
	@mkdir -p $(@D)
	@sed -n 's|^//     ||p' $< > $@

$(BUILT)/plain: $(CORE_INPUTS)
	$(call BUILD_CORE,$(CXX),-O2)
$(BUILT)/address: $(CORE_INPUTS)
	$(call BUILD_CORE,$(CXX),-O1 -fsanitize=address$(,)undefined -fno-sanitize-recover=all)
$(BUILT)/thread: $(CORE_INPUTS)
	$(call BUILD_CORE,$(CXX),-O1 -fsanitize=thread)
, := ,

# What MSVC compiles, which has no vector types.
$(BUILT)/lanes: $(CORE_INPUTS)
	$(call BUILD_CORE,$(CXX),-O1 -DMIXSYNTH_LANES)

core: $(BUILT)/plain $(BUILT)/lanes
	@$(call EACH_WIDTH,$<,40)
	@echo "without vector types" && $(BUILT)/lanes 10 128

# Wrong addresses, undefined behaviour and races.
sanitize: $(BUILT)/address $(BUILT)/thread
	@echo "AddressSanitizer, UBSan" && $(call EACH_WIDTH,$(BUILT)/address,40)
	@echo "ThreadSanitizer" && $(call EACH_WIDTH,$(BUILT)/thread,20)

# Processors that this one is not: x86 without AVX, and ARM. Skipped, with a word, where Debian's packages are missing.
build/core/old-x86: $(CORE_INPUTS)
	$(call BUILD_CORE,$(CXX),-O2 -static)
build/core/arm: $(CORE_INPUTS)
	$(call BUILD_CORE,$(ARM_CXX),-O2 -static)
ARM_CXX ?= aarch64-linux-gnu-g++
EMULATE = @for tool in $(2) $(4); do command -v $$tool > /dev/null || { echo "skipped $(1): no $$tool"; exit 0; }; done; \
    $(MAKE) -s build/core/$(1) && $(2) $(3) build/core/$(1) 10
emulate:
	$(call EMULATE,old-x86,qemu-x86_64,-cpu core2duo,)
	$(call EMULATE,arm,qemu-aarch64,,$(ARM_CXX))

# The binding under AddressSanitizer, with wrong arguments; FUZZ_S=3600 for an hour, FUZZ_SEED for other ones.
FUZZ_S ?= 40
FUZZ_SEED ?= 0
PYTHON_INCLUDES = $(shell $(BIN)/python -c "import pybind11, sysconfig; \
    print('-I' + pybind11.get_include(), '-I' + sysconfig.get_paths()['include'])")
build/core/fuzzed.so: $(SOURCES) $(HEADERS) | $(VENV)/.dev
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O1 -g -Wno-psabi -fPIC -shared -fvisibility=hidden -fsanitize=address -Icsrc $(PYTHON_INCLUDES) \
	    $(SOURCES) -pthread -o $@
fuzz: build/core/fuzzed.so
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    $(BIN)/python tests/csrc/fuzz_bindings.py $< --seconds $(FUZZ_S) --seed $(FUZZ_SEED)

# The CUDA encoder in the emulation, at length.
CUDA_SHAPES := tests/csrc/cuda/test_cuda_shapes.py
cuda: $(VENV)/.dev
	$(BIN)/python -m pytest -q $(CUDA_SHAPES)

# No card is needed. What is known from the run before is not compiled again (build/*-gates.json).
gates: $(VENV)/.dev
	$(BIN)/python scripts/kernel_gates.py --all
	@if command -v nvcc > /dev/null; then $(BIN)/python scripts/cuda_gates.py; \
	else echo "skipped the CUDA kernels: no nvcc"; fi

# For a bare machine with a card and no network: PYTHON itself, which has torch, triton, numpy, pytest and pybind11.
# A test that finds no card there fails. Triton's cache is a new one, so that each run compiles what it tests. nvcc's
# objects in build/cuda may be brought along: `make dev MIXSYNTH_ARCH=90` makes those of compute capability 9.0.
GPU_OUT := $(if $(filter file,$(origin OUT)),out/gpu,$(OUT))
gpu: export MIXSYNTH_CUDA := 1
gpu: export MIXSYNTH_GPU := 1
gpu: export TRITON_INTERPRET := 0
gpu: export TRITON_CACHE_DIR := $(CURDIR)/build/triton-cache
gpu:
	@rm -rf build/triton-cache && mkdir -p build/triton-cache
	"$(PYTHON)" tests/gpu/run_all.py "$(GPU_OUT)"

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
