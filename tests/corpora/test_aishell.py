import re
import shutil
import subprocess
from dataclasses import replace

import pytest
import soundfile

from ds2cli.corpora import aishell
from ds2cli.corpora.aishell import Options, fetch, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare as stage

# lines of the published list
LINES = {
    "BAC009S0002W0122": "而 对 楼市 成交 抑制 作用 最 大 的 限 购",
    "BAC009S0002W0123": "也 成为 地方 政府 的 眼中 钉",
    "BAC009S0724W0121": "广州市 房地产 中介 协会 分析",
    "BAC009S0764W0121": "甚至 出现 交易 几乎 停滞 的 情况",
}
PARTS = {"S0002": "train", "S0724": "dev", "S0764": "test"}
ROWS = {
    "BAC009S0002W0122": "而对楼市成交抑制作用最大的限购",
    "BAC009S0002W0123": "也成为地方政府的眼中钉",
    "BAC009S0724W0121": "广州市房地产中介协会分析",
    "BAC009S0764W0121": "甚至出现交易几乎停滞的情况",
}


@pytest.fixture
def tree(tmp_path, shared_data):
    """The published layout, of real recordings with other texts."""
    folder = tmp_path / "data_aishell"
    speech = sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))
    for recording, name in zip(speech, LINES, strict=False):
        speaker = name[6:11]
        path = folder / "wav" / PARTS[speaker] / speaker / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(recording, dtype="int16")
        soundfile.write(path, samples[: 2 * rate], rate)
    (folder / "transcript").mkdir()
    lines = "".join(f"{name} {text}\n" for name, text in LINES.items())
    (folder / "transcript/aishell_transcript_v0.8.txt").write_text(lines, "utf-8")
    return folder


def pack(tree):
    """Pack each speaker again, as in the published archive."""
    for speaker in sorted((tree / "wav").glob("*/S*")):
        name = f"{speaker.parent.name}/{speaker.name}"
        archive = tree / f"wav/{speaker.name}.tar.gz"
        subprocess.run(["tar", "-czf", archive, "-C", tree / "wav", name], check=True)
        shutil.rmtree(speaker.parent)


def run(source, **settings):
    ledger = Ledger()
    return list(stage.run("aishell", str(source), Options(**settings), ledger)), ledger


def test_the_published_layout(tree):
    rows, ledger = run(tree)
    assert {row["id"]: row["text"] for row in rows} == ROWS and not ledger.rows
    assert rows[2]["audio_filepath"].endswith("data_aishell/wav/dev/S0724/BAC009S0724W0121.wav")
    assert [(row["speaker"], row["split"], row["lang"]) for row in rows] == [
        ("S0002", "train", "zh"),
        ("S0002", "train", "zh"),
        ("S0724", "dev", "zh"),
        ("S0764", "test", "zh"),
    ]
    assert rows[0]["duration"] == 2.0


@pytest.mark.parametrize(("part", "ids"), [("train", 2), ("dev,test", 2), ("train, dev", 3)])
def test_parts(tree, part, ids):
    rows, ledger = run(tree, part=part)
    assert len(rows) == ids and not ledger.rows
    with pytest.raises(UsageError, match=r"--part eval: not in .*/wav, which has dev, test, train"):
        run(tree, part="dev,eval")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("而 对 楼市", "而对楼市"),
        ("  两  个 ", "两个"),
        ("穿 t 恤 去 ktv club 唱", "穿t恤去ktv club唱"),
        ("Ｔ 恤", "Ｔ恤"),
        ("ｋ 歌 ｂ ｔ", "ｋ歌ｂ ｔ"),
        ("one two", "one two"),
    ],
)
def test_spaces_beside_characters_are_removed(tree, text, expected):
    (tree / "transcript/aishell_transcript_v0.8.txt").write_text(f"BAC009S0002W0122 {text}\n", "utf-8")
    (row,) = prepare(str(tree), Options(), Ledger())
    assert row["text"] == expected


def test_whatever_is_wrong_costs_its_utterance(tree):
    (tree / "wav/train/S0002/BAC009S0002W0122.wav").unlink()
    (tree / "wav/dev/S0724/BAC009S0724W0121.wav").write_bytes(b"RIFF")
    extra = tree / "wav/test/S0764/BAC009S0764W0999.wav"
    shutil.copy(tree / "wav/test/S0764/BAC009S0764W0121.wav", extra)
    table = tree / "transcript/aishell_transcript_v0.8.txt"
    lines = table.read_text("utf-8").splitlines()
    lines += ["", "BAC009S0002W0123 再 说", "BAC009S0002W0456", "BAC009S0764W0123 有 3 个"]
    shutil.copy(tree / "wav/test/S0764/BAC009S0764W0121.wav", extra.with_name("BAC009S0764W0123.wav"))
    shutil.copy(tree / "wav/test/S0764/BAC009S0764W0121.wav", tree / "wav/train/S0002/BAC009S0002W0456.wav")
    table.write_text("\n".join(lines) + "\n", "utf-8")
    rows, ledger = run(tree)
    assert [row["id"] for row in rows] == ["BAC009S0002W0123", "BAC009S0764W0121"]
    assert {row["id"]: (row["reason"], row["bad"]) for row in ledger.rows} == {
        "BAC009S0002W0122": ("missing-audio", True),
        "BAC009S0724W0121": ("unreadable-audio", True),
        "BAC009S0764W0999": ("no-text", False),
        "BAC009S0002W0123": ("duplicate-id", True),
        "BAC009S0002W0456": ("no-text", True),
        "BAC009S0764W0123": ("digits", True),
    }


def test_an_empty_list(tree):
    (tree / "transcript/aishell_transcript_v0.8.txt").write_text("")
    with pytest.raises(DataError, match="the list is empty, expected a line for each recording"):
        run(tree)


def test_packed_speakers_are_named_and_unpacked(tree):
    pack(tree)
    with pytest.raises(DataError) as e:
        run(tree)
    message = str(e.value)
    assert message.startswith(f"{tree}/wav/S0002.tar.gz: 3 speakers are still packed (--download unpacks them, or cd ")
    # the command of the message does unpack them
    copy = tree.with_name("copy")
    shutil.copytree(tree, copy)
    command = re.search(r"or (cd .*)\)$", message)[1].replace(str(tree), str(copy))
    subprocess.run(command, shell=True, check=True)
    assert len(run(copy)[0]) == 4
    # without a connection
    fetch(str(tree), Options(download=True, mirror="http://127.0.0.1:9"))
    assert {row["id"]: row["text"] for row in run(tree)[0]} == ROWS
    assert len(list((tree / "wav").glob("*.tar.gz"))) == 3


def test_the_archive_is_downloaded_and_its_speakers_unpacked(tree, tmp_path, site, packed, monkeypatch):
    pack(tree)
    files = {f"data_aishell/{p.relative_to(tree)}": p for p in sorted(tree.rglob("*.*")) if p.is_file()}
    md5 = site.put("33/data_aishell.tgz", packed["tar"](files))
    monkeypatch.setattr(aishell, "ARCHIVE", replace(aishell.ARCHIVE, md5=md5))
    new = tmp_path / "new"
    for _ in range(2):
        fetch(str(new), Options(download=True, mirror=site.address))
    assert {row["id"]: row["text"] for row in run(new)[0]} == ROWS
    assert sorted(p.name for p in (new / "wav").iterdir()) == ["dev", "test", "train"]
    assert sorted(p.name for p in new.iterdir()) == ["transcript", "wav"] and len(site.requests) == 1
    with pytest.raises(DataError, match=r"expected the folder data_aishell itself \(pass .*/data_aishell\)"):
        fetch(str(tmp_path), Options(download=True, mirror=site.address))


@pytest.mark.parametrize("source", [".", "data_aishell/wav", "data_aishell/wav/train", "data_aishell/transcript"])
def test_a_wrong_source_names_the_right_one(tree, source):
    with pytest.raises(DataError, match=rf"expected the folder data_aishell with wav and .* \(pass {tree}\)"):
        list(prepare(str(tree.parent / source), Options(), Ledger()))


def test_nothing_of_the_corpus(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/file").touch()
    with pytest.raises(DataError, match=r"with wav and transcript.*\(--download fetches it\)"):
        list(prepare(str(tmp_path / "x"), Options(), Ledger()))


@pytest.mark.peer
def test_the_utterances_are_those_of_lhotse(tree):
    recipes = pytest.importorskip("lhotse.recipes")
    expected = recipes.prepare_aishell(tree.parent)
    found = {part: manifests["supervisions"] for part, manifests in expected.items()}
    segments = sorted((s.id, s.text, s.speaker, part) for part, segments in found.items() for s in segments)
    assert [(row["id"], row["text"], row["speaker"], row["split"]) for row in run(tree)[0]] == segments
