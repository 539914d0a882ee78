# make demo   train and decode on 22 minutes of recorded speech     make test   the test suite
# make check  lint, types and tests: what a commit needs             make help   every target
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-mini test test-slow lint fmt type check docs native native-sanitize kenlm \
	bench bench-rnn bench-ctc bench-decode bench-train clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# an editable install lists the modules it found, so a new or moved module asks for another one
MODULES := $(shell find ds2cli -name '*.py' | LC_ALL=C sort | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(MODULES)
export PATH := $(abspath $(BIN)):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:            ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 18

setup: $(READY)  ## make .venv with the package and its tools

$(READY): pyproject.toml constraints.txt native/CMakeLists.txt native/cuda.cmake $(wildcard native/src/* native/src/cuda/* native/include/*)
	@utils/check_python.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m ds2cli.native
	@touch $(READY)

demo: $(READY)   ## the whole pipeline on telephone prompts: data, features, training, LM, decoding, WER
	egs/asterisk/run.sh

demo-mini: $(READY) ## the LibriSpeech recipe on a few real utterances (LIBRISPEECH=folder), in minutes
	egs/librispeech/run.sh --mini true

test: $(READY)   ## the test suite (under 15 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY) ## what takes longer
	$(BIN)/python -m pytest -m slow

lint: $(READY)   ## ruff and the shell scripts
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	for f in $$(git ls-files '*.sh' .ci/run); do bash -n $$f || exit 1; done

fmt: $(READY)    ## format
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

type: $(READY)   ## mypy --strict
	$(BIN)/mypy

check: lint type test ## all of it: what a commit needs

docs: $(READY)   ## generate the command reference, ds2cli/cli/README.md
	$(BIN)/python -m ds2cli.cli.lib.reference ds2cli/cli/README.md

native: $(READY) ## build the native library again
	$(BIN)/python -m pip install -q -c constraints.txt -e . && $(BIN)/python -m ds2cli.native

native-sanitize: ## the native tests under AddressSanitizer and UBSan
	cmake -S native -B build/sanitize -DDS2_SANITIZE=ON && cmake --build build/sanitize -j2 && ctest --test-dir build/sanitize --output-on-failure

kenlm:           ## build lmplz and build_binary for large text (1-3 minutes)
	utils/install_kenlm.sh

bench: bench-rnn bench-ctc ## what the native kernels are worth beside torch

bench-rnn: $(READY) ## the native recurrence beside torch's
	$(BIN)/python native/bench/bench_rnn.py

bench-ctc: $(READY) ## the native CTC beside torch's and warp-ctc's (WARP_CTC=libwarpctc.so), and its share of a step
	$(BIN)/python native/bench/bench_ctc.py $(if $(WARP_CTC),--warp-ctc $(WARP_CTC))
	$(BIN)/python native/bench/bench_ctc_cuda.py
	$(BIN)/python native/bench/bench_step.py

bench-train: $(READY) ## a training step beside the same network of torch's own modules (egs/asterisk after its stage 2)
	$(BIN)/python native/bench/bench_train.py
	$(BIN)/python native/bench/bench_train_cuda.py

bench-decode: $(READY) build/bench-venv/.ready ## our decoder beside others, on emissions and models from DS2_PEERS (../shared/peers)
	build/bench-venv/bin/python tests/peers/bench_decode.py --python $(BIN)/python $(BENCH)

build/bench-venv/.ready: tests/peers/requirements.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	@touch $@

clean:           ## remove what was built (not the data or experiments of egs/)
	rm -rf build dist $(VENV) ds2cli/_native .pytest_cache .mypy_cache .ruff_cache
