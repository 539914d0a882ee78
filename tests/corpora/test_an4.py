import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.audio.read import read
from ds2cli.corpora.an4 import Options, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.stages import prepare as stage

TEXTS = {
    "an152-mwhw-b": "start",
    "an251-fash-b": "yes",
    "an253-fash-b": "go",
    "cen8-fbbh-b": "march third nineteen twenty eight",
    "cen8-mwhw-b": "eleven seventeen fifty one",
    "cen8-fcaw-b": "eleven twenty seven fifty seven",
    "cen8-mmxg-b": "october twenty four nineteen seventy",
}


@pytest.fixture
def tree(tmp_path, shared_data):
    """A copy of the published layout, in which one recording is not listed."""
    shutil.copytree(shared_data / "an4", tmp_path / "an4")
    return tmp_path / "an4"


def run(source, **settings):
    ledger = Ledger()
    return list(stage.run("an4", str(source), Options(**settings), ledger)), ledger


def reasons(ledger):
    return {row["id"]: row["reason"] for row in ledger.rows}


def test_the_published_layout(tree):
    rows, ledger = run(tree)
    assert {row["id"]: row["text"] for row in rows} == TEXTS
    assert reasons(ledger) == {"cen7-fash-b": "not-listed"} and ledger.bad == 0
    assert {row["speaker"] for row in rows} == {"mwhw", "fash", "fbbh", "fcaw", "mmxg"}
    assert {row["id"] for row in rows if row["split"] == "test"} == {"cen8-fcaw-b", "cen8-mmxg-b"}
    assert rows[1]["audio_filepath"].endswith("wav/an4_clstk/fash/an251-fash-b.sph")
    assert (rows[1]["duration"], rows[1]["sample_rate"], rows[1]["lang"]) == (1.0, 16000, "en")


def test_a_part(tree):
    rows, ledger = run(tree, part="test")
    assert [row["id"] for row in rows] == ["cen8-fcaw-b", "cen8-mmxg-b"] and ledger.bad == 0
    (tree / "etc/an4_train.transcription").unlink()
    assert len(run(tree, part="test")[0]) == 2


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_recordings_without_a_header(tree, tmp_path, order):
    """The layout of an4_raw.littleendian and an4_raw.bigendian: the samples of the SPHERE files alone."""
    samples = {}
    for path in (tree / "wav").rglob("*.sph"):
        samples[path.stem] = np.frombuffer(path.read_bytes()[1024:], "<i2")
        path.with_suffix(".raw").write_bytes(samples[path.stem].astype(order).tobytes())
        path.unlink()
    rows, ledger = run(tree)
    assert not rows and ledger.reasons["unreadable-audio"] == len(TEXTS)
    rows, ledger = run(tree, wav_dir=str(tmp_path / "wav"))
    assert {row["id"]: row["text"] for row in rows} == TEXTS and ledger.bad == 0
    assert sorted(path.stem for path in (tmp_path / "wav").iterdir()) == sorted(TEXTS)
    for row in rows:
        found, rate = soundfile.read(row["audio_filepath"], dtype="int16")
        assert rate == 16000 and np.array_equal(found, samples[row["id"]])
    for name, data in (("an251-fash-b", b""), ("an253-fash-b", b"odd")):
        next((tree / "wav").rglob(f"{name}.raw")).write_bytes(data)
    assert run(tree, wav_dir=str(tmp_path / "wav"))[1].reasons["unreadable-audio"] == 2


def test_converted_recordings_are_preferred_to_raw_ones(tree):
    """As scripts of other toolkits leave them."""
    for path in [*(tree / "wav").rglob("*.sph")]:
        samples, rate = read(str(path))
        soundfile.write(path.with_suffix(".wav"), samples, rate)
        path.rename(path.with_suffix(".raw"))
    rows, ledger = run(tree)
    assert len(rows) == len(TEXTS) and {Path(row["audio_filepath"]).suffix for row in rows} == {".wav"}
    assert ledger.bad == 0


def test_whatever_is_wrong_costs_its_utterance(tree):
    (tree / "wav/an4_clstk/fash/an251-fash-b.sph").unlink()
    (tree / "wav/an4_clstk/fash/an253-fash-b.sph").write_bytes(b"NIST_1A\n   1024\n")
    with (tree / "etc/an4_train.fileids").open("a") as f:
        f.write("an4_clstk/fash/cen7-fash-b\n\n")
    texts = tree / "etc/an4_train.transcription"
    lines = texts.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if "cen8-fbbh" in line)
    lines[at] = "<s> ++COUGH++ </s> (cen8-fbbh-b)"
    lines += ["<s> YES </s> cen7-fash-b", "", "<s> GO </s> (an152-mwhw-b)"]
    texts.write_text("\n".join(lines) + "\n")
    rows, ledger = run(tree, part="train")
    assert [row["id"] for row in rows] == ["an152-mwhw-b", "cen8-mwhw-b"] and rows[0]["text"] == "start"
    assert {name.rpartition("/")[2]: reason for name, reason in reasons(ledger).items()} == {
        "an251-fash-b": "missing-audio",
        "an253-fash-b": "unreadable-audio",
        "cen7-fash-b": "no-text",
        "cen8-fbbh-b": "symbols",
        f"an4_train.transcription:{len(lines) - 2}": "bad-line",
        "an152-mwhw-b": "duplicate-id",
    }
    assert f"{texts}:{len(lines) - 2}: expected `<s> TEXT </s> (ID)`" in str(ledger.rows)


def test_lists_of_files_may_be_missing_and_texts_may_not(tree):
    for part in ("train", "test"):
        (tree / f"etc/an4_{part}.fileids").unlink()
    rows, ledger = run(tree)
    assert len(rows) == len(TEXTS) and not ledger.rows
    (tree / "etc/an4_test.transcription").write_text("\n")
    with pytest.raises(DataError, match=r"an4_test.transcription: no lines"):
        run(tree)


@pytest.mark.parametrize("source", ["..", "etc", "wav/an4_clstk/fash"])
def test_a_wrong_source_names_the_right_one(tree, source):
    expected = "expected the folder an4 with wav, etc/an4_train.transcription and etc/an4_test.transcription (pass "
    with pytest.raises(DataError, match=re.escape(expected) + ".*an4"):
        list(prepare(str(tree / source) if source != ".." else str(tree.parent), Options(), Ledger()))


def test_texts_without_recordings_are_no_corpus(tree):
    shutil.rmtree(tree / "wav")
    with pytest.raises(DataError, match="no wav in this folder, expected the folder an4 with wav"):
        run(tree)
