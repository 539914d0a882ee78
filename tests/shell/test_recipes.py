"""The recipes from their first stage to their last, as a user runs them (most take minutes: `make test-slow`)."""

import functools
import hashlib
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from ds2cli.errors import Ds2Error

ROOT = Path(__file__).parents[2]
TINY = """
epochs = 2
batch_s = 80.0
[model]
channels = [64]
kernels = [11]
strides = [3]
rnn_layers = 1
rnn_size = 32
"""
SETS = ["dev-clean", "test-clean", "test-other"]
PASSES = ["greedy", "lm", "rescored"]


@pytest.fixture
def bash():
    """Run a command with this `ds2` on the PATH; it must succeed. Returns standard output."""

    def run(*words, timeout=3000):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Traceback" not in done.stderr
        return done.stdout

    return run


@pytest.fixture
def prompts(tmp_path):
    """Folder of the Spanish prompts: that of the recipe, or fetched now."""
    corpus = ROOT / "egs/asterisk/corpus/es"
    if corpus.is_dir():
        return corpus
    if not shutil.which("apt-get"):
        pytest.skip(f"no prompts at {corpus}, and no apt-get to fetch them")
    fetched = tmp_path / "corpus"
    command = [sys.executable, "-m", "ds2cli", "prepare", "asterisk", fetched, tmp_path / "all.jsonl"]
    done = subprocess.run([*command, "--lang", "es", "--download"], capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.skip(f"the prompts cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    return fetched


def scored_sets(stdout):
    """The titles that are followed by a %WER line."""
    return [title for title, line in pairwise(stdout.splitlines()) if title.endswith(":") and line.startswith("%WER ")]


def librispeech(shared_data, tmp_path, *options):
    """The command that runs every stage of the recipe on a few utterances."""
    folders = ["--exp", tmp_path / "exp", "--data", tmp_path / "data", "--corpus-dir", shared_data / "LibriSpeech"]
    return [ROOT / "egs/librispeech/run.sh", "--mini", "true", *folders, *options]


def check_librispeech(exp, stdout, sets):
    """Every set was scored in every pass; the report has their rates, each with an interval and a certificate."""
    assert scored_sets(stdout) == [f"{name}, {kind}:" for name in sets for kind in PASSES]
    for name in ("best.safetensors", "last.pt", "train.jsonl", "average/best.safetensors", "rescore/decode.toml"):
        assert (exp / name).stat().st_size > 0
    report = (exp / "RESULTS.md").read_text()
    assert report in stdout
    for name in sets:
        for kind in PASSES:
            score = json.loads((exp / f"{name}.{kind}.json").read_text())
            assert f"| {name} | {kind} | {score['rates']['word']['rate']:.2f} |" in report
        assert score["certificate"]["references"][:16] in report


def test_librispeech_tiny(bash, shared_data, tmp_path):
    """One epoch of a tiny network on 7 utterances, with noise and rooms mixed in on the fly."""
    (tmp_path / "tiny.toml").write_text(TINY.replace("epochs = 2", "epochs = 1"))
    sets = ["--train", "dev-clean", "--dev", "dev-clean", "--test", "", "--readers", "0"]
    noise = ["--musan", shared_data / "noise", "--rirs", shared_data / "rir"]
    stdout = bash(*librispeech(shared_data, tmp_path, "--conf", tmp_path / "tiny.toml", *sets, *noise))
    check_librispeech(tmp_path / "exp", stdout, ["dev-clean"])
    config = tomllib.loads((tmp_path / "exp/config.toml").read_text())
    assert config["augment"]["noise"].endswith("noise.jsonl") and config["augment"]["rir"].endswith("rooms.jsonl")
    assert not (tmp_path / "data/train.feats.jsonl").exists()


def test_librispeech_dry_run_needs_no_data(bash, tmp_path):
    cluster = ["--cmd", "utils/slurm.sh --partition gpu", "--nodes", 4, "--nproc", 8]
    command = [ROOT / "egs/librispeech/run.sh", "--dry-run", "--data", tmp_path / "data", "--exp", tmp_path / "exp"]
    printed = bash(*command, *cluster, "--gpu", "h100", "--musan", tmp_path / "musan", "--lm", "own")
    train = next(line for line in printed.splitlines() if "ds2 train" in line)
    assert (
        "slurm.sh --partition gpu --nodes 4 " in train
        and " --gpu 8 " in train
        and "utils/torchrun.sh --nproc 8" in train
    )
    assert "--config 70m-rnn-7x1760 --config conf/train.toml" in train
    estimates = [line for line in printed.splitlines() if line.startswith("#   ")]
    for name in ("time", "memory", "disk"):
        assert any(line.split()[1] == name for line in estimates), estimates
    assert "281,241 utterances" in printed and "4-gram.arpa.gz" in printed and "ds2 prepare musan" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--net", "none", "--conf", "x.toml"], "--net and --conf both name a network"),
        (["--lm", "5-gram"], "expected 3-gram.pruned.1e-7, 3-gram, 4-gram, own, transcripts, or a file"),
        (["--musan", "musan", "--on-the-fly", "false"], "change recordings, not stored features"),
        (["--text", "more.txt", "--dry-run"], "--text and --lm-memory are for the model own"),
        (["--nodes", "2"], "--nodes 2: needs a cluster"),
        (["--features", "mfcc"], "expected spectrogram or fbank"),
        (["--corpus-dir", "/nonexistent"], "no LibriSpeech folder at '/nonexistent'"),
    ],
)
def test_librispeech_refuses_what_it_cannot_do(options, message):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "egs/librispeech/run.sh", *options], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.fixture
def mirror(tmp_path):
    """A folder and the address of a server that sends its files."""
    folder = tmp_path / "mirror"
    (folder / "11").mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_language_models_are_downloaded_once_and_compared_with_their_hash(mirror, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("download", ROOT / "egs/librispeech/local/download.py")
    download = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(download)
    folder, address = mirror
    (folder / "11/4-gram.arpa.gz").write_bytes(b"model")
    out = tmp_path / "lm"
    with pytest.raises(Ds2Error, match="expected 1355172078 bytes, got 5"):
        download.download_lm(out, "4-gram", (address,))
    file = download.File("4-gram.arpa.gz", 5, "sha256", hashlib.sha256(b"model").hexdigest())
    monkeypatch.setitem(download.FILES, "4-gram", file)
    download.download_lm(out, "4-gram", (f"{address}/none", address))
    assert [path.read_bytes() for path in out.iterdir()] == [b"model"]
    download.download_lm(out, "4-gram", ("http://127.0.0.1:9",))  # it is there
    (out / "4-gram.arpa.gz").write_bytes(b"moderl"[:5])
    with pytest.raises(Ds2Error, match=r"its sha256 is \w+, expected .* \(remove it"):
        download.download_lm(out, "4-gram", (address,))


@pytest.mark.slow
@pytest.mark.parametrize("cmd", ["", "utils/run.sh"])
def test_librispeech_mini(bash, shared_data, tmp_path, cmd):
    stdout = bash(*librispeech(shared_data, tmp_path, *(["--cmd", cmd] if cmd else [])))
    check_librispeech(tmp_path / "exp", stdout, SETS)
    assert (tmp_path / "exp/log/train.log").exists() == bool(cmd)
    trained = (tmp_path / "exp/best.safetensors").stat().st_mtime_ns
    again = bash(*librispeech(shared_data, tmp_path, *(["--cmd", cmd] if cmd else []), "--resume"))
    check_librispeech(tmp_path / "exp", again, SETS)
    assert (tmp_path / "exp/best.safetensors").stat().st_mtime_ns == trained


@pytest.mark.slow
def test_librispeech_mini_on_slurm(bash, shared_data, tmp_path):
    """Every stage as jobs of a one-node Slurm; the training by torchrun, in two processes."""
    missing = [p for p in ("munged", "slurmctld") if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin")]
    if missing or os.getuid() != 0:
        pytest.skip("needs root, and apt-get install -y slurm-wlm munge")
    cluster = ["--cmd", "utils/slurm.sh --partition test", "--nodes", 1, "--nproc", 2]
    stdout = bash("bash", ROOT / "tests/shell/slurm_node.sh", *librispeech(shared_data, tmp_path, *cluster))
    check_librispeech(tmp_path / "exp", stdout, SETS)
    assert "torchrun.sh --nproc 2 ds2 train" in (tmp_path / "exp/log/train.log").read_text()


@pytest.mark.slow
def test_asterisk_in_spanish(bash, prompts, tmp_path):
    exp = tmp_path / "exp"
    conf = tmp_path / "tiny.toml"
    conf.write_text(TINY)
    stdout = bash(
        *(ROOT / "egs/asterisk/run.sh", "--lang", "es", "--corpus", prompts, "--conf", conf),
        *("--exp", exp, "--data", tmp_path / "data"),
    )
    assert scored_sets(stdout) == ["dev, greedy:", "test, greedy:", "test, lm:"]
    assert (exp / "dev.ctm").stat().st_size > 0
    prompt = sorted(prompts.rglob("vm-intro.g722"))[0]
    assert len(bash("ds2", "transcribe", exp, prompt).splitlines()) == 1


@pytest.mark.slow
def test_asterisk_as_it_goes(bash, prompts, tmp_path):
    """The look-aheads of a forward-only network beside a bidirectional one; the second call trains only the new one."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "streaming.toml").write_text(TINY + "bidirectional = false\nrow_conv = 20\n")

    def table(steps):
        stdout = bash(
            *(ROOT / "egs/asterisk/streaming.sh", "--lang", "es", "--corpus", prompts, "--steps", steps),
            *("--conf", tmp_path / "streaming.toml", "--base", tmp_path / "tiny.toml"),
            *("--exp", tmp_path / "exp", "--data", tmp_path / "data"),
        )
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in stdout.splitlines() if "|" in line]

    first = table("2")
    trained = (tmp_path / "exp/2.0/best.safetensors").stat().st_mtime_ns
    again = table("2 0")
    assert again[:4] == first and (tmp_path / "exp/2.0/best.safetensors").stat().st_mtime_ns == trained
    assert [row[:2] for row in again[2:]] == [
        ["bidirectional", "to the end of the utterance"],
        ["2", "110 ms"],
        ["0", "50 ms"],
    ]
    assert all(float(rate) > 0 for row in again[2:] for rate in row[2:7])
    assert 'level_from = "past"' in (tmp_path / "data-streaming/train.feats.jsonl.config.toml").read_text()
