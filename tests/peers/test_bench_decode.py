"""The decoder benchmark: its message without the peers, and the error rates of our decoder, the same on any machine."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("DS2_PEERS", HERE.parents[2] / "shared" / "peers"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The shared module bench_decoders, importable together with our entries as in the benchmark."""
    pytest.importorskip("rapidfuzz")
    if not (PEERS / "bench_decoders.py").is_file():
        pytest.skip(f"no bench_decoders.py in {PEERS} (set DS2_PEERS)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEERS_CACHE", str(tmp_path_factory.mktemp("peers")))
        for folder in (HERE, PEERS):
            patch.syspath_prepend(str(folder))
        yield import_module("bench_decoders")


def test_without_the_peers_it_prints_where_they_are_expected(tmp_path):
    env = {**os.environ, "DS2_PEERS": str(tmp_path)}
    done = subprocess.run([sys.executable, HERE / "bench_decode.py"], env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"skipped: no bench_decoders.py in {tmp_path} (DS2_PEERS=FOLDER)\n"


@pytest.mark.peer
def test_word_error_rate_is_at_most_that_of_the_peers(bench):
    # ctc-beam-decoder and pyctcdecode reach 2.05 on these 60 utterances at beam 64, 16.13 without a language model
    ours = import_module("ours").Ours(bench)
    data = bench.pd.english()[:60]
    for lm, max_wer in (("lm", 2.05), (None, 16.14)):
        decode = ours.peer_settings()[0][1]("en", lm, 64)
        assert bench.pd.wer([r for _, r in data], [decode(x) for x, _ in data]) <= max_wer
