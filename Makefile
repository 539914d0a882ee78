# make demo   train and decode on 24 minutes of recorded speech     make test   the test suite
# make check  lint, types and tests, before each merge                make help   every target
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-mini test test-fast test-slow fuzz fuzz-serve soak lint fmt type check docs native wheel native-sanitize kenlm sctk \
	results bench bench-rnn bench-ctc bench-decode bench-featurize bench-score bench-align bench-stream bench-serve bench-train bench-contention data-peers gpu gpu-wheels clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# an editable install lists its modules, so a new or moved module needs another install
MODULES := $(shell find ds2cli -name '*.py' | LC_ALL=C sort | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(MODULES)
# one pytest process per core
JOBS ?= $(shell $(PYTHON) -m ds2cli.cores)
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# what test-fast leaves out, besides the tests marked `long`: whole files that start processes or compile
LONG := cli shell fuzz golden peers native nn/distributed nn/rnn nn/test_average.py nn/test_norm.py nn/ctc/test_native_op.py \
	train/test_backward.py train/test_loader.py stages/test_units.py stages/test_doctor_warm.py lm/test_kenlm_agrees.py \
	kernels/test_jit.py house/test_plugins.py house/test_fixtures.py test_cores.py test_parallel.py
export PATH := $(abspath $(BIN)):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pytest would prepare every test file again in each of its processes
unexport PYTHONDONTWRITEBYTECODE

help:            ## print this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 18

setup: $(READY)  ## create .venv with the package and the development tools

$(READY): pyproject.toml constraints.txt native/CMakeLists.txt native/cuda.cmake $(wildcard native/src/* native/src/cuda/* native/include/*)
	@utils/check_python.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m ds2cli.native
	-@$(BIN)/python -m ds2cli doctor --warm
	@touch $(READY)

demo: $(READY)   ## run the Asterisk recipe: data, features, LM, training, decoding, error rates
	egs/asterisk/run.sh

demo-mini: $(READY) ## run the LibriSpeech recipe on a few utterances (LIBRISPEECH=FOLDER), in minutes
	egs/librispeech/run.sh --mini true

test: $(READY)   ## run the test suite, on all cores (JOBS=N: on N), with KenLM and sclite if they can be installed
	@JOBS=$(JOBS) utils/install_kenlm.sh --if-possible
	@utils/install_sctk.sh --if-possible
	$(PYTEST) -m "not slow"

test-fast: $(READY) ## run the quick tests: not those that start commands or processes, nor those of the native kernels
	$(PYTEST) -m "not slow and not long" $(LONG:%=--ignore=tests/%)

# with random inputs; the suite has a few fixed ones
MINUTES ?= 30
fuzz: $(READY)   ## feed the commands damaged files and hostile input for MINUTES; failures are kept in build/fuzz
	$(BIN)/python tests/fuzz/long_run.py --minutes $(MINUTES) --jobs $(JOBS)

fuzz-serve: $(READY) ## feed the server random messages, requests and frames for MINUTES
	$(BIN)/python tests/fuzz/long_run.py --minutes $(MINUTES) --jobs 1 -k test_server

soak: $(READY)   ## hostile clients, floods and large uploads against the server for MINUTES, beside streams that must not change
	$(BIN)/python tests/serve/soak.py --minutes $(MINUTES)

test-slow: $(READY) ## run the slow tests: whole recipes, killed training runs
	$(BIN)/python -m pytest -m slow

lint: $(READY)   ## check with ruff, and the syntax of the shell scripts
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	for f in $$(git ls-files '*.sh' .ci/run); do bash -n $$f || exit 1; done

fmt: $(READY)    ## format with ruff
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

type: $(READY)   ## check types (mypy --strict)
	$(BIN)/mypy

check: lint type test ## lint, types and tests: run before each merge (test-fast: before each commit)

docs: $(READY)   ## generate the command reference, ds2cli/cli/README.md
	$(BIN)/python -m ds2cli.cli.lib.reference ds2cli/cli/README.md

native: $(READY) ## rebuild the native library
	$(BIN)/python -m pip install -q -c constraints.txt -e . && $(BIN)/python -m ds2cli.native

wheel:           ## build dist/: the source distribution, a manylinux wheel, and a wheel without the native library
	PYTHON=$(PYTHON) utils/build_wheel.sh

native-sanitize: ## run the native tests under AddressSanitizer and UBSan
	cmake -S native -B build/sanitize -DDS2_SANITIZE=ON && cmake --build build/sanitize -j2 && ctest --test-dir build/sanitize --output-on-failure

kenlm:           ## build lmplz and build_binary for large text (1-3 minutes)
	utils/install_kenlm.sh

sctk:            ## download NIST's sclite, sc_stats and rover (Debian and Ubuntu)
	utils/install_sctk.sh

# RESULTS=--write replaces the figures that differ
results: $(READY) ## compute the figures of RESULTS files again from stored emissions; fails where one differs
	$(BIN)/python utils/results.py recompute $(RESULTS)

bench: bench-rnn bench-ctc ## compare the native kernels with torch

bench-rnn: $(READY) ## compare the native recurrent layers with torch's
	$(BIN)/python native/bench/bench_rnn.py

bench-ctc: $(READY) ## compare the native CTC with torch's and warp-ctc's (WARP_CTC=libwarpctc.so)
	$(BIN)/python native/bench/bench_ctc.py $(if $(WARP_CTC),--warp-ctc $(WARP_CTC))
	$(BIN)/python native/bench/bench_ctc_cuda.py
	$(BIN)/python native/bench/bench_ctc_share.py
	$(BIN)/python native/bench/bench_align.py

bench-train: $(READY) ## compare a training step with torch's modules (needs the features: egs/asterisk/run.sh --stop-stage 2)
	$(BIN)/python native/bench/bench_train.py
	$(BIN)/python native/bench/bench_train_cuda.py

bench-contention: $(READY) ## measure a training step beside a process that keeps a core busy
	$(BIN)/python native/bench/bench_contention.py

bench-decode: $(READY) build/bench-venv/.ready ## compare the decoder with others, on the emissions and models in DS2_PEERS (../shared/peers)
	build/bench-venv/bin/python tests/peers/bench_decode.py --python $(BIN)/python $(BENCH)

# BENCH="--streaming 1000000" also shows that the memory of a large manifest is bounded
bench-score: $(READY) build/bench-venv/.ready ## compare ds2 score with other scorers, on the text in DS2_PEERS (../shared/peers)
	build/bench-venv/bin/python tests/peers/bench_score.py --python $(BIN)/python $(BENCH)

bench-featurize: $(READY) ## measure ds2 featurize from FLAC to archives, on the recordings in DS2_TEST_DATA (../shared/data)
	$(BIN)/python tests/peers/bench_featurize.py $(BENCH)

bench-align: $(READY) build/bench-align-venv/.ready ## compare the aligner with others, on the emissions of DS2_PEERS (../shared/peers)
	build/bench-align-venv/bin/python tests/peers/bench_align.py $(BENCH)

bench-data: $(READY) ## measure the commands of ds2 data on a million rows, beside lhotse; writes tests/peers/RESULTS-data.md
	$(BIN)/python tests/peers/bench_data.py --write tests/peers/RESULTS-data.md $(BENCH)

bench-stream: $(READY) ## compare the products and recurrences of streams with torch's
	$(BIN)/python native/bench/bench_stream.py

bench-serve: $(READY) ## load the server with 10 to 100 live streams and uploads: 8 minutes; needs exp/en-streaming of egs/asterisk
	egs/asterisk/serve.sh $(BENCH)

build/bench-venv/.ready: tests/peers/requirements.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	@touch $@

# torchaudio is linked against libraries of CUDA, of which it needs no more than the names here
build/bench-align-venv/.ready: tests/peers/requirements-align.txt tests/peers/cuda_stubs.c
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	$(@D)/bin/python -m pip install -q --no-deps torchaudio==2.11.0
	mkdir -p $(@D)/stubs
	for name in c10_cuda torch_cuda; do \
	  cc -shared -fPIC tests/peers/cuda_stubs.c -Wl,-soname,lib$$name.so -o $(@D)/stubs/lib$$name.so || exit 1; done
	@touch $@

# not $(READY), which needs the network: this Python has torch, and what else is missing comes from .wheels
# GPU="--only tests" runs one part
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
gpu:             ## run everything that needs a GPU, within 8 minutes; writes its tables into native/bench/RESULTS.md
	PYTHONPATH=. $(GPU_PYTHON) native/gpu.py $(GPU)

data-peers: $(READY) ## install the readers of other toolkits' data formats for tests/peers/test_data_peers.py
	$(BIN)/python -m pip install -q --target build/data-peers --upgrade -r tests/peers/requirements-data.txt
	$(BIN)/python -m pip install -q --target build/data-peers --upgrade --no-deps nemo_toolkit==3.0.0

# the packages that a machine with torch, numpy, scipy and numba usually lacks, for its Python
GPU_WHEELS ?= av soundfile cffi pycparser soxr tomli-w num2words sentencepiece typer rich safetensors \
	pytest iniconfig pluggy packaging pygments
GPU_PYTHON_VERSION ?= 3.12
gpu-wheels:      ## download what `make gpu` needs on a machine without network, into .wheels
	$(PYTHON) -m pip download -q -d .wheels --no-deps --only-binary=:all: --implementation cp --python-version $(GPU_PYTHON_VERSION) \
	  $(foreach n,2_39 2_34 2_31 2_28 2_27 2_24 2_17 2014 1,--platform manylinux$(if $(findstring _,$(n)),_)$(n)_x86_64) \
	  -c constraints.txt $(GPU_WHEELS)

clean:           ## remove everything built (not the data and experiments of egs/)
	rm -rf build dist $(VENV) ds2cli/_native ds2cli/kernels/__pycache__ .pytest_cache .mypy_cache .ruff_cache
