"""What happens when memory ends: one meaning for the errors of all libraries, and a second try alone."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import av.error
import numpy as np
import pytest
import soundfile
import torch

from ds2cli import cgroups, memory
from ds2cli.errors import BadUtterance, Ds2Error, UsageError
from ds2cli.memory import OUT_OF_MEMORY, describe_lack, fit_utterance, is_out_of_memory, try_to_fit

TORCH = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


def numpy_error():
    with pytest.raises(MemoryError) as e:
        np.empty(1 << 60, np.uint8)
    return e.value


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (MemoryError(), "more is needed"),
        (numpy_error(), "1.15e+09 GB more are needed"),
        (RuntimeError(f"{TORCH} 83904184 bytes. Error code 12 (Cannot allocate memory)"), "83.9 MB more are needed"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 ..."),
            "2.68 GB more are needed",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), "more is needed"),
        (RuntimeError("could not create a primitive"), "more is needed"),
        (RuntimeError("can't start new thread"), "no thread can be started"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "more is needed"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "a.ark"), "more is needed"),
        (av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory"), "more is needed"),
        (soundfile.LibsndfileError(17, "a.wav: "), "more is needed"),
        (caused(BadUtterance("unreadable-audio", "a.mp3: cannot be read"), MemoryError()), "more is needed"),
    ],
)
def test_the_errors_of_the_libraries_mean_the_same(error, lack):
    assert is_out_of_memory(error) and describe_lack(error) == lack


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("could not create a primitive descriptor"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.wav"),
        OSError(errno.ENOSPC, "No space left on device"),
        soundfile.LibsndfileError(2, "out of memory.wav: "),
        BadUtterance("missing-audio", "no file out of memory.wav"),
        caused(UsageError("wrong"), KeyError("not enough memory")),
    ],
)
def test_other_errors_do_not(error):
    assert not is_out_of_memory(error)


def test_work_that_fits_is_done_once():
    calls = []
    assert fit_utterance(lambda: calls.append(1) or "done", "the work", "wait") == "done" and calls == [1]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(f"{TORCH} 5000000 bytes"), numpy_error()])
def test_what_does_not_fit_alone_is_a_bad_utterance_without_the_arrays_of_the_work(error):
    calls = []

    def work():
        calls.append(1)
        raise error

    with pytest.raises(BadUtterance) as e:
        fit_utterance(work, "the search", "wait")
    assert e.value.reason == OUT_OF_MEMORY and len(calls) == 2
    assert e.value.detail == f"the search does not fit in memory: {describe_lack(error)} (wait)"
    # the traceback of an error holds what the functions in it have computed
    assert e.value.__cause__ is None and e.value.__context__ is None


def test_the_detail_of_a_reader_is_kept():
    error = caused(BadUtterance("unreadable-audio", "a.wav: its header states 7 samples"), MemoryError())

    def work():
        raise error

    with pytest.raises(BadUtterance, match=r"a\.wav: its header states 7 samples") as e:
        fit_utterance(work, "the recording", "wait")
    assert e.value.reason == OUT_OF_MEMORY


@pytest.mark.parametrize("error", [BadUtterance("too-short", "no frames"), Ds2Error("refused"), ValueError("a bug")])
def test_other_errors_pass(error):
    calls = []

    def work():
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as e:
        try_to_fit(work)
    assert e.value is error and calls == [1]


def test_the_second_try_waits_for_the_work_of_other_threads():
    begun, released, order = threading.Event(), threading.Event(), []

    def large():
        begun.set()
        assert released.wait(20)
        order.append("large ends")

    def small():
        order.append("small")
        if len(order) == 1:
            released.set()
            raise MemoryError
        return "done"

    thread = threading.Thread(target=try_to_fit, args=(large,))
    thread.start()
    assert begun.wait(20)
    assert try_to_fit(small) == ("done", None)
    thread.join()
    assert order == ["small", "large ends", "small"]


def test_many_threads_that_lack_memory_take_turns():
    inside, most, failed = set(), [], []

    def work(name):
        inside.add(name)
        most.append(len(inside))
        try:
            if name not in failed:
                failed.append(name)
                raise MemoryError
            assert inside == {name}, "alone"
            return name
        finally:
            inside.discard(name)

    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(try_to_fit(partial(work, n)))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == [(n, None) for n in range(8)]


def test_work_within_work_is_left_to_the_outer_one():
    calls = []

    def inner():
        calls.append("inner")
        raise MemoryError

    def outer():
        calls.append("outer")
        return try_to_fit(inner)

    assert try_to_fit(outer) == (None, "more is needed")
    assert calls == ["outer", "inner"] * 2


def test_what_no_utterance_is_to_blame_for_is_one_sentence():
    message = re.escape("the network does not fit in memory: 1.15e+09 GB more are needed (wait)")
    with pytest.raises(Ds2Error, match=message), memory.required("the network", "wait"):
        np.zeros(1 << 60, np.uint8)
    for error in (BadUtterance("too-short", ""), UsageError("wrong"), ValueError("a bug")):
        with pytest.raises(type(error)), memory.required("the network", "wait"):
            raise error


def test_an_array_that_the_system_would_grant_but_does_not_have_is_refused(tmp_path, monkeypatch):
    """Linux ends the process that uses it."""
    (tmp_path / "meminfo").write_text("MemTotal:  9000000 kB\nMemAvailable:     200000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "missing")
    assert memory.available_bytes() == 204_800_000
    with memory.needed(200_000_000, "20 x 10"):
        pass
    message = "2000 x 1000 need 250 MB, 205 MB are available"
    with pytest.raises(MemoryError, match=message), memory.needed(250_000_000, "2000 x 1000"):
        raise AssertionError("not reached")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "missing")
    with memory.needed(1 << 60, "not known"):
        pass


def v1(group, limit, used):
    return {f"memory/{group}memory.limit_in_bytes": f"{limit}\n", f"memory/{group}memory.usage_in_bytes": f"{used}\n"}


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "0::/\n", 204_800_000),
        ({"memory.max": "max\n", "memory.current": "5000\n"}, "0::/\n", 204_800_000),
        ({"memory.max": "900000000\n", "memory.current": "5000\n"}, "0::/\n", 204_800_000),
        ({"memory.max": "90000000\n", "memory.current": "50000000\n"}, "0::/\n", 40_000_000),
        ({"memory.max": "50000000\n", "memory.current": "50004096\n"}, "0::/\n", 0),
        (
            {
                "memory.max": "90000000\n",
                "memory.current": "80000000\n",
                "memory.stat": "anon 20000000\nfile 60000000\ninactive_file 50000000\nactive_file 7000000\n",
            },
            "0::/\n",
            67_000_000,
        ),
        (
            {
                "a/memory.max": "60000000\n",
                "a/memory.current": "40000000\n",
                "a/b/memory.max": "80000000\n",
                "a/b/memory.current": "30000000\n",
            },
            "0::/a/b\n",
            20_000_000,
        ),
        (v1("", 9223372036854771712, 70000000), "4:memory:/\n", 204_800_000),
        (v1("", 100000000, 70000000), "5:cpu:/x\n4:memory:/docker/abc\n0::/\n", 30_000_000),
        (
            v1("a/", 100000000, 70000000)
            | {"memory/a/memory.stat": "inactive_file 1\nactive_file 2\ntotal_inactive_file 30\ntotal_active_file 7\n"},
            "4:memory:/a\n",
            30_000_037,
        ),
        ({"memory.max": "broken\n", "memory.current": "5000\n"}, "0::/\n", 204_800_000),
    ],
    ids=str,
)
def test_the_limit_of_a_container_counts_without_what_is_kept_of_files(
    tmp_path, monkeypatch, files, membership, expected
):
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "self").write_text(membership)
    (tmp_path / "meminfo").write_text("MemTotal:  9000000 kB\nMemAvailable:     200000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "self")
    assert memory.available_bytes() == expected


def test_a_size_that_fails_is_named():
    with pytest.raises(memory.NeededError) as e, memory.needed(3_000, "3 x 1000"):
        raise MemoryError("Allocation failed (probably too large).")
    assert describe_lack(e.value) == "3 x 1000 need 3 kB"


LIMITED = """
import json, resource, sys
import numpy as np
from ds2cli.archive import ArkWriter
from ds2cli.config.align import AlignConfig
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.greedy import GreedySearch
from ds2cli.stages import align, featurize, transcribe
from ds2cli.stages.long_recording import Listener

exp, folder, files = Experiment(sys.argv[1]), sys.argv[2], sys.argv[3:]
long, *others = files
# as one utterance: in chunks it would fit
config = TranscribeConfig(greedy=True, nj=2, chunk=3600.0)
recordings = lambda files: [{"id": name, "audio_filepath": name} for name in files]

def emissions(path, sizes):
    rng = np.random.default_rng(0)
    with ArkWriter(path) as ark:
        for name, (steps, letters) in sizes.items():
            log_probs = np.log(rng.dirichlet(np.ones(4), steps)).astype(np.float32)
            place = ark.write(name, log_probs)
            yield {"id": name, "text": "ab " * letters, "emission": place, "step_s": 0.02}

def transcribed(files):
    ledger = Ledger()
    rows = transcribe.run(config, recordings(files), ledger, exp, GreedySearch(exp.vocab), Listener(print))
    return [(row["id"], row["pred_text"], row["pred_score"]) for row in rows], list(ledger.rows)

def featurized(files, name):
    ledger = Ledger()
    rows = featurize.run(FeaturizeConfig(max_bad=100.0), recordings(files), ledger, f"{folder}/{name}")
    return [row["id"] for row in rows], list(ledger.rows), open(f"{folder}/{name}.1.ark", "rb").read().hex()

def aligned(rows):
    ledger = Ledger()
    return list(align.run(AlignConfig(nj=2), rows, ledger, exp)), list(ledger.rows)

small = {f"u{i}": (60, 4) for i in range(6)}
rows = list(emissions(f"{folder}/e.ark", {"u2-large": (30000, 6000), **small}))
rows.sort(key=lambda row: row["id"])
expected = [transcribed(others), featurized(others, "a"), aligned(rows)]
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, ((used << 10) + (150 << 20),) * 2)
found = [transcribed([others[0], long, *others[1:]]), featurized([others[0], long, *others[1:]], "b"), aligned(rows)]
print(json.dumps({"expected": expected, "found": found}))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="limits and reports the size of a process")
def test_one_recording_that_a_limit_leaves_no_room_for_costs_the_others_nothing(tmp_path):
    """Transcribe, featurize and align under ulimit -v: what remains is the same to the bit."""
    import json

    from ds2cli.config.model import ModelConfig
    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.runtime.file import BEST
    from ds2cli.text.vocab import BLANK, Vocab

    torch.manual_seed(0)
    vocab = Vocab((BLANK, " ", "a", "b"))
    model = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
    features = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}
    network = DeepSpeech2(model, len(vocab), 161).state_dict()
    (tmp_path / BEST).write_bytes(dump_model(network, model, vocab, features, {}))
    noise = np.random.default_rng(0).integers(-3000, 3000, 16000 * 1800).astype(np.int16)
    names = {"long.wav": 1800, "a.wav": 2, "b.wav": 1, "c.wav": 3}
    for name, seconds in names.items():
        soundfile.write(tmp_path / name, noise[: 16000 * seconds], 16000)
    (tmp_path / "limited.py").write_text(LIMITED)
    command = [sys.executable, str(tmp_path / "limited.py"), str(tmp_path), str(tmp_path)]
    command += [str(tmp_path / name) for name in names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # a byte per step and symbol would not fit
    assert result["expected"].pop() == result["found"].pop()
    for (kept, _, *archive), (found, drops, *found_archive) in zip(result["expected"], result["found"], strict=True):
        assert found == kept and found_archive == archive and len(kept) >= 3
        (drop,) = drops
        assert drop["reason"] == OUT_OF_MEMORY and Path(drop["id"]).name == "long.wav"
        assert "does not fit in memory: " in drop["detail"]
