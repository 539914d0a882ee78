"""Fixtures for every test: the recordings, `ds2` as a user runs it, and a small training set."""

import contextlib
import fcntl
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

# a shell that runs the tests in the background ignores Ctrl-C, and every command started here would inherit that
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the networks of the tests are small, and every core has a pytest process: a second thread would only wait
for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# every machine has two cores for the commands that are tested, so that two processes can be asked for
os.environ.setdefault("DS2_CORES", "2")

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("DS2_TEST_DATA", ROOT.parent / "shared" / "data"))
COMPILING = ("kernels", "lm", "metrics", "recognizer", "search", "stages")
"""Folders whose tests call kernels."""


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real recordings; tests that need it are skipped if it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"no recordings at {SHARED} (set DS2_TEST_DATA)")
    return SHARED


@pytest.fixture(scope="session")
def utterances(shared_data):
    """Six utterances of a chapter of LibriSpeech: samples (N,) int16 at 16 kHz and texts, in order."""
    import soundfile

    chapter = shared_data / "LibriSpeech/train-clean-100/27/124992"
    lines = (chapter / "27-124992.trans.txt").read_text("utf-8").splitlines()[:6]
    pairs = (line.split(" ", 1) for line in lines)
    return [(soundfile.read(chapter / f"{name}.flac", dtype="int16")[0], text) for name, text in pairs]


@pytest.fixture(scope="session")
def long_recording(utterances):
    """The utterances after pauses of half a second: samples (N,), and parts with begin, end (s), samples and text."""
    import numpy as np

    pause, parts, pieces, begin = np.zeros(8000, np.int16), [], [], 0
    for samples, text in utterances:
        pieces += [pause, samples]
        begin += len(pause)
        end = begin + len(samples)
        parts.append(SimpleNamespace(begin=begin / 16000, end=end / 16000, samples=samples, text=text))
        begin = end
    return np.concatenate([*pieces, pause]), parts


def pytest_configure(config):
    """Refuse to test another checkout than this one."""
    if not hasattr(config, "workerinput"):
        spec = importlib.util.find_spec("ds2cli")
        command = [sys.executable, "-c", "import ds2cli; print(ds2cli.__file__)"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.run(command, capture_output=True, text=True, cwd="/", env=env, check=False).stdout.strip()
        for file in (spec and spec.origin, child):
            if not file or not Path(file).resolve().is_relative_to(ROOT.resolve()):
                message = f"tests of {ROOT} would run the ds2cli of {file or 'no folder'} (make setup in this checkout)"
                raise pytest.UsageError(message)


def pytest_collection_modifyitems(items):
    """Tests that compile kernels come first, in one of two processes, so that not both compile them."""
    compiling = tuple(f"tests/{folder}/" for folder in COMPILING)
    items.sort(key=lambda item: not item.nodeid.startswith(compiling))


def pytest_collection_finish():
    """Keep the garbage collector from looking again and again at thousands of tests and at the packages."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU and a torch with CUDA (make gpu)")


@pytest.fixture(scope="session")
def fork_servers():
    """Two that start `ds2` without importing torch again, without ds2cli and with it; see tests/fork_server.py."""
    spec = importlib.util.spec_from_file_location("fork_server", Path(__file__).with_name("fork_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    servers = [module.ForkServer(ROOT, with_ds2cli=with_ds2cli) for with_ds2cli in (False, True)]
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def fork_server(fork_servers):
    """The one that has imported ds2cli."""
    return fork_servers[True]


@pytest.fixture
def ds2(fork_servers):
    """Run `ds2 …` in a process of its own; the result has .returncode .stdout .stderr."""

    def run(*args, stdin=None, cwd=None, timeout=300):
        arguments = [*map(str, args)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        server = fork_servers["DS2_PLUGINS" not in env]
        if server.serves(env):
            return server.run(arguments, stdin, str(cwd or Path.cwd()), timeout, env)
        command = [sys.executable, "-m", "ds2cli", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=timeout, env=env)

    return run


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A function that fills a folder once for all pytest processes: (name, fill) → folder, after fill(folder)."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root

    def get(name, fill):
        folder = root / f"shared-{name}"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / ".complete").exists():
                folder.mkdir(exist_ok=True)
                fill(folder)
                (folder / ".complete").touch()
        return folder

    return get


@pytest.fixture
def jsonl():
    """Write rows to a file, or read them if no rows are given."""

    def access(path, rows=None):
        if rows is None:
            return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
        Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        return str(path)

    return access


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Folder with train.jsonl and dev.jsonl: words of the letters abc, each with its own spectrum of 20 bins."""
    import numpy as np

    from ds2cli import manifest
    from ds2cli.archive import ArkWriter

    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(1)
    shapes = {c: rng.normal(size=20) for c in "abc"} | {" ": np.zeros(20)}
    for name, size in (("train", 48), ("dev", 8)):
        rows = []
        with ArkWriter(folder / f"{name}.ark") as ark:
            for i in range(size):
                text = " ".join("".join(rng.choice(list("abc"), rng.integers(1, 4))) for _ in range(rng.integers(1, 3)))
                frames = [np.repeat([[*shapes[c]], [0.0] * 20], [5, 3], axis=0) for c in text]
                x = (2 * np.concatenate(frames) + 0.1 * rng.normal(size=(8 * len(text), 20)) - 9).astype(np.float32)
                ref = ark.write(f"{name}-{i:02d}", x)
                rows.append({"id": f"{name}-{i:02d}", "text": text, "feats": ref, "num_frames": len(x)})
        manifest.write(str(folder / f"{name}.jsonl"), rows)
    return folder


@pytest.fixture
def piped(tmp_path):
    """Make a named pipe from which `data` can be read once: (data, name) → its path."""

    def write(path, data):
        # the reader may close the pipe early
        with contextlib.suppress(OSError):
            path.write_bytes(data)

    def make(data, name="pipe"):
        path = tmp_path / name
        os.mkfifo(path)
        # a pipe that is never opened must not keep pytest from ending
        threading.Thread(target=write, args=(path, data), daemon=True).start()
        return str(path)

    return make


@pytest.fixture
def interrupted(tmp_path):
    """Make a named pipe that has no writer; after half a second a signal raises SystemExit, as SIGTERM does.

    After 10 s the pipe gets an empty writer, so that a wait that the signal did not end fails the test.
    """
    path, done = tmp_path / "no-writer", threading.Event()
    os.mkfifo(path)

    def handle(*_):
        raise SystemExit

    def end_wait():
        if not done.wait(10):
            path.write_bytes(b"")

    previous = signal.signal(signal.SIGALRM, handle)
    threading.Thread(target=end_wait, daemon=True).start()
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    yield str(path)
    done.set()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    """Folder with an experiment `exp` (an untrained network, everything tuned), clip.wav, and the bundle `é x.ds2`."""
    import numpy as np
    import soundfile
    import torch

    from ds2cli.config.export import ExportConfig
    from ds2cli.config.features import FeatureConfig
    from ds2cli.config.model import ModelConfig
    from ds2cli.metrics.logistic import LogisticModel
    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.recognizer.transcript_filter import TranscriptFilter, save_filter
    from ds2cli.stages import export
    from ds2cli.text.vocab import BLANK, Vocab

    folder = tmp_path_factory.mktemp("shipped")
    exp, vocab, features = folder / "exp", Vocab((BLANK, " ", "a", "b", "é")), FeatureConfig(sample_rate=8000)
    config = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
    exp.mkdir()
    torch.manual_seed(0)
    network = DeepSpeech2(config, len(vocab), 81)
    (exp / "best.safetensors").write_bytes(dump_model(network.state_dict(), config, vocab, features.features(), {}))
    vocab.save(exp / "tokens.txt")
    lm = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tbé\n\n\\end\\\n"
    (exp / "lm.arpa").write_text(lm)
    (exp / "decode.toml").write_text('alpha = 0.25\nbeta = 2.0\nbeam = 16\n\n[made_by]\nlm = "elsewhere/lm.arpa"\n')
    (exp / "align.toml").write_text("shift_ms = 12.0\nextend_ms = 0.0\n")
    numbers = np.random.default_rng(1).normal(size=6)
    save_filter(str(exp), TranscriptFilter(LogisticModel(numbers, np.zeros(6), np.ones(6), 0.1), 0.5), seed=1)
    samples = 0.1 * np.random.default_rng(0).normal(size=12000).astype(np.float32)
    soundfile.write(folder / "clip.wav", samples, 16000)
    (folder / "LICENSE").write_text("Do what you like.\n")
    options = ExportConfig(clip=str(folder / "clip.wav"), license=str(folder / "LICENSE"))
    export.run(options, str(exp), "ds2 export").write(str(folder / "é x.ds2"))
    return folder
