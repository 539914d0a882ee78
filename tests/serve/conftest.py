"""A real server (`ds2 serve`) with a small network, on a free port."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.feats import kinds
from ds2cli.feats.stream import FeatureStream
from ds2cli.nn.checkpoint import dump_model
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab
from tests.runtime.networks import make_network

pytest.importorskip("starlette", reason="needs the extra serve (pip install 'ds2cli[serve]')")

ROOT = Path(__file__).parents[2]
VOCAB = Vocab((BLANK, " ", "'", *"abcdefghijklmnopqrstuvwxyz"))
FEATURES = FeatureConfig.from_saved({"level_from": "past", "initial_db": -25.0}, "test")
FORWARD = ModelConfig(
    channels=(12, 12), kernels=(11, 5), strides=(3, 1), rnn_layers=2, rnn_size=24, bidirectional=False,
    cell="rnn", activation="relu", row_conv=5,
)  # fmt: skip
START_S = 60.0


def write_network(folder, config=FORWARD):
    """An experiment whose network is certain of what it hears: nonsense words for `speech`, nothing for silence."""
    model = make_network(config, kinds.num_bins(FEATURES), len(VOCAB))
    with torch.no_grad():
        model.mean.fill_(-12)
        model.std.fill_(4)
        loud, quiet = _activations(model, speech(4)), _activations(model, np.zeros(64000, "<i2"))
        output = model.output
        output.weight.mul_(30)
        direction = quiet.mean(0) - loud.mean(0)
        direction /= direction.square().sum()
        middle = (quiet.mean(0) + loud.mean(0)) @ direction / 2
        gain = 4 * max(output(loud).max(), output(quiet).max())
        output.weight[0], output.bias[0] = gain * direction, -gain * middle
        # a space in one of eight steps
        logits = output(loud)
        output.bias[1] += (logits.max(1).values - logits[:, 1]).quantile(0.12)
    folder.mkdir(parents=True)
    (folder / BEST).write_bytes(dump_model(model.state_dict(), config, VOCAB, FEATURES.features(), {}))


def _activations(model, samples):
    """What the last layer of a network gets for samples (N,) int16."""
    stream, found = FeatureStream(FEATURES), []
    feats = np.concatenate([stream.advance(samples.astype(np.float32) / 32768), stream.finish()])
    hook = model.output.register_forward_hook(lambda _, inputs, __: found.append(inputs[0].flatten(0, -2)))
    model(torch.from_numpy(feats)[None], torch.tensor([len(feats)]))
    hook.remove()
    return found[0]


@pytest.fixture(scope="session")
def exp(shared_folder):
    """The folder of an experiment with a forward-only network for 16 kHz."""
    return shared_folder("serve-forward", lambda folder: write_network(folder / "nonsense")) / "nonsense"


@pytest.fixture(scope="session")
def bidirectional_exp(shared_folder):
    """The same with a bidirectional one."""
    config = replace(FORWARD, bidirectional=True, row_conv=0)
    return shared_folder("serve-both", lambda folder: write_network(folder / "nonsense", config)) / "nonsense"


@dataclass
class RunningServer:
    """process: `ds2 serve`.  port: where it listens.  log: what it has written so far, after `read_log`.
    is_damaged: whether the test has done something that the server must write an error of.
    """

    process: subprocess.Popen
    port: int
    log: str
    is_damaged: bool = False

    @property
    def http(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self):
        return f"ws://127.0.0.1:{self.port}"

    def get(self, path):
        with urllib.request.urlopen(self.http + path, timeout=30) as response:
            return response.read().decode()

    def metric(self, name):
        """The value of a line of /metrics, such as ds2_streams or ds2_refused_total{code="x"}."""
        for line in self.get("/metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return None

    def memory_mb(self):
        """Resident memory of the process (MB)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self, number=signal.SIGTERM, timeout=60):
        """Send a signal and wait for the end: its exit status. The rest of what it wrote is in `log`."""
        self.process.send_signal(number)
        self.log += self.process.communicate(timeout=timeout)[1].decode()
        return self.process.returncode


@contextlib.contextmanager
def running_server(exp, *options, env=None):
    """Start `ds2 serve EXP` on a free port; it is ended afterwards, and must not have written a traceback."""
    command = [sys.executable, "-m", "ds2cli", "serve", str(exp), "--port", "0", *map(str, options)]
    if "--max-streams" not in options:
        command += ["--max-streams", "100"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(env or {})}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    log, deadline = "", time.monotonic() + START_S
    try:
        while not (found := re.search(r"https?://[^ ]*:(\d+)", log)):
            if time.monotonic() > deadline:
                # its output would have no end
                process.kill()
                process.wait()
            assert process.poll() is None, log + process.stderr.read().decode()
            if select.select([process.stderr], [], [], 0.1)[0]:
                log += os.read(process.stderr.fileno(), 65536).decode()
        server = RunningServer(process, int(found[1]), log)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                server.log += process.communicate(timeout=60)[1].decode()
            except (subprocess.TimeoutExpired, UnboundLocalError):
                process.kill()
                process.communicate()
                raise
        elif not process.stderr.closed:
            # it has ended within the test
            log = process.stderr.read().decode()
            process.stderr.close()
            with contextlib.suppress(UnboundLocalError):
                server.log += log
    assert "Traceback" not in server.log and (server.is_damaged or "serve: error" not in server.log), server.log


@pytest.fixture(scope="session")
def server(exp):
    """A server for all tests of a process that leave it as it was."""
    with running_server(exp) as server:
        yield server


def speech(seconds, seed=0, rate=16000):
    """Noise in bursts, as samples (N,) int16: the nonsense network writes words for it."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0.0, 1.0, int(seconds * 5) + 1) > 0.3, rate // 5)[: int(seconds * rate)]
    tone = np.sin(np.cumsum(np.repeat(rng.uniform(0.05, 1.5, int(seconds * 10) + 1), rate // 10)[: len(loud)]))
    return (8000 * loud * (tone + 0.3 * rng.normal(size=len(loud)))).astype("<i2")


def talk(utterances=3, seconds=3.0, pause=1.5, rate=16000):
    """Utterances of `speech` with silence between them, as samples (N,) int16."""
    parts = []
    for i in range(utterances):
        parts += [speech(seconds, i, rate), np.zeros(int(pause * rate), "<i2")]
    return np.concatenate(parts[:-1])
