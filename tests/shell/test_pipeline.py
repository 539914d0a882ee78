"""The stages chained in pipes as a user would, on real recordings, with a network trained for seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
TINY = [
    *("--set", "model.channels=[64]", "--set", "model.kernels=[11]", "--set", "model.strides=[3]"),
    *("--set", "model.rnn_layers=1", "--set", "model.rnn_size=32", "--batch-s", "30"),
]


def pipe(command, cwd, timeout=300):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-euo", "pipefail", "-c", command]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def recordings(shared_data, tmp_path_factory):
    """Folder with `wav/` (twelve utterances and transcripts), their features, and `exp`, trained for two epochs."""
    root = tmp_path_factory.mktemp("pipeline")
    folder = root / "wav"
    folder.mkdir()
    chapter = sorted((shared_data / "LibriSpeech" / "test-other").rglob("*.trans.txt"))[0]
    for line in chapter.read_text().splitlines()[:12]:
        name, _, text = line.partition(" ")
        source = chapter.with_name(f"{name}.flac")
        (folder / f"{name}.flac").write_bytes(source.read_bytes())
        (folder / f"{name}.txt").write_text(text + "\n")
    train = " ".join(["ds2 train train.feats.jsonl exp --epochs 2", *(f"'{a}'" for a in TINY)])
    done = pipe(f"ds2 prepare folder wav - | ds2 featurize - train.feats.jsonl && {train}", root)
    assert done.returncode == 0, done.stderr
    return root


def test_one_pipe_from_a_folder_to_error_rates(recordings):
    command = "ds2 prepare folder wav - | ds2 featurize - - --dir x | ds2 decode exp - - --greedy | ds2 score -"
    done = pipe(command, recordings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("%WER ")
    assert "Traceback" not in done.stderr


def test_decoding_emissions_equals_decoding_features(recordings, jsonl):
    done = pipe(
        "ds2 emit exp train.feats.jsonl emit.jsonl --dir e"
        " && ds2 decode exp emit.jsonl a.jsonl --greedy && ds2 decode exp train.feats.jsonl b.jsonl --greedy"
        " && ds2 align exp emit.jsonl ali.jsonl --ctm ali.ctm",
        recordings,
    )
    assert done.returncode == 0, done.stderr
    a, b, ali = (jsonl(recordings / name) for name in ("a.jsonl", "b.jsonl", "ali.jsonl"))
    assert [row["pred_text"] for row in a] == [row["pred_text"] for row in b]
    for row in ali:
        assert [w["word"] for w in row["words"]] == row["text"].split()
        times = [t for w in row["words"] for t in (w["start"], w["end"])]
        assert times == sorted(times)
        assert times[0] >= 0 and times[-1] <= row["duration"] + row["step_s"]
        assert row["ctc_cost"] <= -row["align_logprob"] + 1e-3
    assert len((recordings / "ali.ctm").read_text().splitlines()) == sum(len(row["words"]) for row in ali)


def test_decoding_with_a_language_model_and_n_best(recordings, jsonl):
    done = pipe(
        "ds2 lm train.feats.jsonl lm.arpa --order 2 --estimator own"
        " && ds2 decode exp train.feats.jsonl lm.jsonl --lm lm.arpa --alpha 0.5 --beta 1 --nbest 3 --timestamps"
        " && ds2 score lm.jsonl lm.scored.jsonl --unit both",
        recordings,
    )
    assert done.returncode == 0, done.stderr
    assert "%WER" in done.stdout and "%CER" in done.stdout
    for row in jsonl(recordings / "lm.jsonl"):
        scores = [h["score"] for h in row["nbest"]]
        assert scores == sorted(scores, reverse=True)
        assert row["nbest"][0]["text"] == row["pred_text"]
        assert [w["word"] for w in row["pred_words"]] == row["pred_text"].split()


def test_transcribe_takes_files_folders_and_stdin(recordings, jsonl):
    source = sorted((recordings / "wav").glob("*.flac"))[0]
    samples, rate = soundfile.read(source)
    stereo = np.repeat(samples[::2, None], 2, axis=1)
    soundfile.write(recordings / "phone.wav", stereo, rate // 2)
    done = pipe(f"ds2 transcribe exp wav phone.wav --json > t.jsonl && ds2 transcribe exp - < {source}", recordings)
    assert done.returncode == 0, done.stderr
    rows = jsonl(recordings / "t.jsonl")
    assert len(rows) == len(list((recordings / "wav").glob("*.flac"))) + 1
    assert "8 kHz; the training recordings were 16 kHz" in done.stderr
    assert all(isinstance(row["pred_text"], str) and row["duration"] > 0 for row in rows)


def test_each_bad_recording_costs_one_utterance(recordings, jsonl):
    bad = recordings / "bad"
    bad.mkdir()
    good = sorted((recordings / "wav").glob("*.flac"))
    for i, source in enumerate(good[:3]):
        (bad / f"good{i}.flac").write_bytes(source.read_bytes())
    (bad / "truncated.flac").write_bytes(good[0].read_bytes()[:20000])
    (bad / "empty.wav").write_bytes(b"")
    (bad / "text.wav").write_text("this is not audio\n")
    soundfile.write(bad / "nan.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    (bad / "latin.flac").write_bytes(good[1].read_bytes())
    (bad / "number.flac").write_bytes(good[1].read_bytes())
    for file in list(bad.iterdir()):
        file.with_suffix(".txt").write_text("HELLO THERE\r\n")
    (bad / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (bad / "number.txt").write_text("room 5")
    (bad / "silent.flac").write_bytes(good[2].read_bytes())
    done = pipe("ds2 prepare folder bad bad.jsonl", recordings)
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert not (recordings / "bad.jsonl").exists()
    done = pipe("ds2 prepare folder bad bad.jsonl --max-bad 90 && ds2 data validate bad.jsonl", recordings)
    assert done.returncode == 0, done.stderr
    kept = jsonl(recordings / "bad.jsonl")
    assert [Path(row["audio_filepath"]).name for row in kept] == ["good0.flac", "good1.flac", "good2.flac"]
    drops = jsonl(recordings / "bad.jsonl.dropped.jsonl")
    assert len(drops) == 7
    assert all(row["reason"] and row["detail"] for row in drops)
    assert len({row["reason"] for row in drops}) >= 6
    (bad / "good1.flac").unlink()
    done = pipe(
        "ds2 featurize bad.jsonl - --dir f --max-bad 50 --dropped d.jsonl | ds2 decode exp - - --greedy", recordings
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    (drop,) = jsonl(recordings / "d.jsonl")
    assert drop["reason"] == "missing-audio"


def test_killed_training_resumes_where_it_was(ds2, toy, tmp_path, jsonl):
    """After SIGKILL and the same command, the learning curve equals that of an uninterrupted training."""
    settings = ["--dev", toy / "dev.jsonl", "--epochs", "6", *TINY, "--batch-s", "0.5"]

    def train(exp):
        return ["train", toy / "train.jsonl", exp, *settings]

    reference = ds2(*train("reference"), cwd=tmp_path)
    assert reference.returncode == 0, reference.stderr
    command = [sys.executable, "-m", "ds2cli", *train("killed")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / "train.jsonl"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_text().count('"dev_wer"') >= 2:
            break
        time.sleep(0.01)
    # on a busy machine it may have finished by now: the next run then has nothing to do
    process.kill()
    assert process.wait() in (0, -signal.SIGKILL)
    done = ds2(*train("killed"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    def curve(exp):
        rows = jsonl(tmp_path / exp / "train.jsonl")
        return [(r["epoch"], r["loss"], r["dev_cer"]) for r in rows if "dev_cer" in r]

    assert [e for e, _, _ in curve("killed")] == [e for e, _, _ in curve("reference")]
    np.testing.assert_allclose(curve("killed"), curve("reference"), rtol=1e-4)
