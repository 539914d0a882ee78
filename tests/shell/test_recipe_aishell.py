"""egs/aishell: what its options become; recordings arranged as a corpus; the whole with real Mandarin (slow)."""

import json
import os
import shlex
import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path

import pytest

from ds2cli import manifest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs/aishell/run.sh"
MAKE_MINI = ROOT / "egs/aishell/local/make_mini.py"
STAGES = 12
TEXTS = ["打开 空调", "关闭 电视", "二零一五年", "apple pay 支付", "今天 天气 很 好", "明天 下 雨"]
TINY = """
epochs = 2
batch_s = 80.0
keep_best = 2
[model]
channels = [32]
kernels = [11]
strides = [4]
rnn_layers = 1
rnn_size = 32
"""


def run(*words, timeout=120):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    env.pop("AISHELL", None)
    return subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=timeout)


def commands(*options):
    """The commands that the recipe would run, as lists of words; titles and estimate as lists that begin with #."""
    done = run(RECIPE, "--dry-run", "true", *options)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line, comments=not line.startswith("#")) for line in done.stdout.splitlines()]


def words_of(found, *start):
    """The words of the one command that begins so."""
    (command,) = [words for words in found if words[: len(start)] == list(start)]
    return command


def value(command, option):
    return command[command.index(option) + 1]


def test_every_stage_of_the_published_corpus():
    found = commands()
    titles = [words for words in found if words[:2] == ["#", "stage"]]
    assert [words[2] for words in titles] == [f"{number}:" for number in range(STAGES)]
    ds2 = [words[1] for words in found if words[0] == "ds2"]
    # features of three parts; two parts, without and with a language model
    assert ds2 == [
        *["prepare"] * 4,
        *["featurize"] * 3,
        "lm",
        "train",
        "emit",
        "emit",
        "data",
        *["decode"] * 5,
        *["score"] * 5,
    ]
    assert "--download" in words_of(
        found, "ds2", "prepare", "aishell", f"{RECIPE.parent}/corpus/data_aishell", "data/fbank/all.jsonl"
    )
    train = words_of(found, "ds2", "train")
    assert train[2:4] == ["data/fbank/train.feats.jsonl", "exp/ds2"] and value(train, "--config") == "conf/ds2.toml"
    files = [after for words in found for word, after in pairwise(words) if word == "--config"]
    assert len(files) > 5 and all((RECIPE.parent / file).is_file() for file in files)
    (estimated,) = [words for words in found if words[1:2] == ["network"]]
    assert estimated[-2:] == ["4300", "symbols"]


def test_options_reach_the_commands(tmp_path):
    options = (
        f"--corpus-dir {tmp_path}/data_aishell --musan {tmp_path}/musan --rirs {tmp_path}/RIRS_NOISES"
        " --net mandarin-deployed --epochs 3 --nproc 4 --beam 200 --average false"
        " --features spectrogram --seed 7 --gpu h200"
    )
    found = commands(*options.split(), "--text", f"{tmp_path}/a.txt {tmp_path}/b.txt")
    # a folder that is given is not downloaded to
    assert [words[4] for words in found if words[:3] == ["ds2", "prepare", "aishell"]] == [
        f"data/spectrogram/{part}.jsonl" for part in ("train", "dev", "test")
    ]
    lm = words_of(found, "ds2", "lm")
    assert lm[2:6] == [
        "data/spectrogram/train.jsonl",
        f"{tmp_path}/a.txt",
        f"{tmp_path}/b.txt",
        "exp/mandarin-deployed/lm.bin",
    ]
    train = words_of(found, "ds2", "train")
    assert train[2:4] == ["data/spectrogram/train.jsonl", "exp/mandarin-deployed"]
    given = " ".join(train)
    for part in (
        "--config mandarin-deployed --config conf/train.toml",
        "--features conf/featurize.spectrogram.toml",
        "--epochs 3",
    ):
        assert part in given
    for part in (
        "augment.noise=data/spectrogram/noise.jsonl",
        "augment.rir=data/spectrogram/rooms.jsonl",
        "--nproc 4",
        "--seed 7",
    ):
        assert part in given
    for corpus in ("musan", "rirs_noises"):
        # downloaded, and prepared
        assert [words[-1] for words in found if words[:3] == ["ds2", "prepare", corpus]] == ["--download", "2"]
    # the training part has no stored features, and nothing is averaged
    assert [words[2] for words in found if words[:2] == ["ds2", "featurize"]] == [
        f"data/spectrogram/{part}.jsonl" for part in ("dev", "test")
    ]
    searches = [words for words in found if words[:2] == ["ds2", "decode"]]
    assert {words[2] for words in searches} == {"exp/mandarin-deployed"}
    assert [value(words, "--beam") for words in searches if "--beam" in words] == ["200", "200"]
    assert any("H200" in words for words in found)


def test_a_language_model_and_a_network_of_the_user(tmp_path):
    conf, lm = tmp_path / "big.toml", tmp_path / "giga.bin"
    conf.write_text(TINY)
    found = commands("--conf", conf, "--lm", lm, "--gpu", "")
    assert not [words for words in found if words[:2] == ["ds2", "lm"]]
    assert {value(words, "--lm") for words in found if "--lm" in words} == {str(lm)}
    assert value(words_of(found, "ds2", "train"), "--config") == str(conf)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--net", "mandarin-research", "--conf", "conf/ds2.toml"], "--net and --conf both name a network"),
        (["--musan", "musan", "--on-the-fly", "false"], "--musan and --rirs change recordings, not stored features"),
        (["--source", "recordings"], "--source only applies with --mini true"),
        (["--mini", "true", "--corpus-dir", "/none"], "no corpus at '/none' (--corpus-dir data_aishell,"),
        (["--text", "a.txt", "--lm", "b.bin"], "--text and --lm: the text is for the model that is made here"),
        (["--features", "mfcc"], "--features: expected spectrogram or fbank, got 'mfcc'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    done = run(RECIPE, *options)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.fixture
def recordings(tmp_path):
    """Silent files at 8 kHz by two speakers in subfolders, with Chinese texts: only their layout is tested."""
    folder = tmp_path / "recordings"
    for number in range(60):
        path = folder / f"speaker {number % 2}" / f"{number:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as f:
            f.setparams((1, 2, 8000, 0, "NONE", ""))
            f.writeframes(bytes(2 * 16000))
        path.with_suffix(".txt").write_text(
            TEXTS[number % len(TEXTS)] + "一二三四五六七八九十"[number // 6] + "\n", "utf-8"
        )
    return folder


def prepared(corpus, tmp_path):
    """The rows of each part, as the recipe prepares them."""
    parts = {}
    for part in ("train", "dev", "test"):
        out = tmp_path / f"{part}.jsonl"
        done = run(sys.executable, "-m", "ds2cli", "prepare", "aishell", corpus, out, "--part", part)
        assert done.returncode == 0, done.stderr
        parts[part] = list(manifest.read(str(out), ("text",)))
    return parts


def test_recordings_become_a_corpus(recordings, tmp_path):
    done = run(sys.executable, MAKE_MINI, recordings, tmp_path / "corpus")
    assert done.returncode == 0, done.stderr
    assert "60 texts are divided between the parts" in done.stderr
    parts = prepared(tmp_path / "corpus", tmp_path)
    rows = [row for part in parts.values() for row in part]
    assert len(rows) == 60 and len({row["text"] for row in rows}) == 60
    assert {row["speaker"] for row in rows} == {"speaker_0", "speaker_1"}
    assert {row["sample_rate"] for row in rows} == {16000} and {row["duration"] for row in rows} == {2.0}
    by_id = {row["id"]: row["text"] for row in rows}
    assert by_id["speaker_1-09"] == "apple pay支付二"
    assert len(parts["train"]) > 30 and len(parts["dev"]) > 0 < len(parts["test"])
    again = run(sys.executable, MAKE_MINI, recordings, tmp_path / "corpus")
    assert again.returncode == 1 and "is not empty" in again.stderr


def test_a_table_with_many_speakers_is_divided_by_speaker(recordings, tmp_path):
    lines = ["path\tsentence\tspeaker"]
    for number, path in enumerate(sorted(recordings.rglob("*.wav"))):
        lines.append(
            f"{path.relative_to(tmp_path)}\t{path.with_suffix('.txt').read_text('utf-8').strip()}\tS{number % 20:04}"
        )
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    done = run(sys.executable, MAKE_MINI, tmp_path / "table.tsv", tmp_path / "corpus")
    assert done.returncode == 0, done.stderr
    assert "20 speakers are divided between the parts" in done.stderr
    speakers = [{row["speaker"] for row in rows} for rows in prepared(tmp_path / "corpus", tmp_path).values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 20


def test_table_of_rates(tmp_path):
    rate = {"name": "CER", "rate": 12.345, "errors": 1000, "total": 8100, "interval_95": [11.0, 13.5]}
    (tmp_path / "a.json").write_text(json.dumps({"rates": {"char": rate}}))
    script = ROOT / "utils/rate_table.py"
    done = run(sys.executable, script, f"test, lm={tmp_path}/a.json", "published=CER:6.40")
    assert done.stdout.splitlines() == [
        "|  | CER | 95 % interval | errors |",
        "|---|---|---|---|",
        "| test, lm | 12.35 | 11.00 to 13.50 | 1,000 / 8,100 characters |",
        "| published | 6.40 |  |  |",
    ]
    (tmp_path / "a.json").write_text("{}")
    done = run(sys.executable, script, f"test={tmp_path}/a.json")
    assert done.returncode == 1 and "expected a file of ds2 score --json" in done.stderr


@pytest.mark.slow
def test_the_whole_with_real_mandarin(tmp_path):
    """DS2_TEST_MANDARIN: recordings with texts, as for make_mini.py."""
    source = os.environ.get("DS2_TEST_MANDARIN")
    if not source:
        pytest.skip("no Mandarin recordings (set DS2_TEST_MANDARIN to a folder of them with their texts)")
    (tmp_path / "tiny.toml").write_text(TINY)
    exp = tmp_path / "exp"
    places = (
        "--corpus-dir",
        tmp_path / "corpus",
        "--data",
        tmp_path / "data",
        "--exp",
        exp,
        "--conf",
        tmp_path / "tiny.toml",
    )
    done = run(RECIPE, "--mini", "true", "--source", source, *places, "--cmd", "utils/run.sh", timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    table = (exp / "results.md").read_text("utf-8").splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["dev, greedy", "dev, lm", "test, greedy", "test, lm"]
    assert json.loads((exp / "test.lm.json").read_text())["certificate"]["unit"] == "char"
    done = run(
        RECIPE, "--mini", "true", "--source", source, *places, "--cmd", "utils/run.sh", "--resume", "true", timeout=3000
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("featurize.train", "lm", "train", "emit.test", "tune", "decode.test.greedy"):
        assert f"{name}: fresh" in done.stderr.splitlines()
