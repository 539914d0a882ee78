"""A miniature of the releases of TED-LIUM, whose talks are made of utterances of ../shared/data/LibriSpeech."""

import numpy as np
import pytest
import soundfile

from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.corpora.tedlium import Options, clean_text
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare

TALK = "AlGore_2009"


@pytest.fixture
def part(long_recording, tmp_path):
    """A function that writes a part with one talk below a folder, and returns the lines of its .stm file."""
    samples, parts = long_recording

    def write(folder, name=TALK, label="<o,f0,male>", extra=(), channel="1"):
        (folder / "stm").mkdir(parents=True, exist_ok=True)
        (folder / "sph").mkdir(exist_ok=True)
        soundfile.write(folder / f"sph/{name}.sph", samples, 16000, format="NIST")
        gap = (
            f"{name} {channel} inter_segment_gap 0.00 {parts[0].begin:.2f} <o,,unknown> ignore_time_segment_in_scoring"
        )
        lines = [gap, *extra]
        for p in parts:
            lines.append(f"{name} {channel} {name} {p.begin:.2f} {p.end:.2f} {label} {p.text.lower()}")
        (folder / f"stm/{name}.stm").write_text("\n".join(lines) + "\n", "utf-8")
        return lines

    return write


def prepared(source, **settings):
    ledger = Ledger()
    rows = list(prepare.run("tedlium", str(source), Options(**settings), ledger))
    return rows, {row["id"]: row["reason"] for row in ledger.rows}, ledger


@pytest.mark.parametrize("base", ["TEDLIUM_release1", "TEDLIUM_release2", "TEDLIUM_release-3/legacy"])
@pytest.mark.parametrize("check", ["decode", "header"])
def test_the_published_layouts(part, long_recording, tmp_path, base, check):
    folder = tmp_path / base
    part(folder / "train")
    part(folder / "dev", "DanBarber_2010", "<F0_F>")
    part(folder / "test", "BillGates_2010", "<o,f0,female>", channel="A")
    source = tmp_path / base.split("/")[0]
    rows, drops, ledger = prepared(source, check=check)
    samples, parts = long_recording
    assert len(rows) == 3 * len(parts)
    assert drops == dict.fromkeys(
        [f"{name}-0000000-0000050" for name in (TALK, "DanBarber_2010", "BillGates_2010")], "not-scored"
    )
    assert not ledger.bad
    talk = [row for row in rows if row["speaker"] == TALK]
    assert [row["text"] for row in talk] == [p.text.lower() for p in parts]
    for row, p in zip(talk, parts, strict=True):
        assert row["duration"] == pytest.approx(p.end - p.begin, abs=0.02)
        assert row["id"] == f"{TALK}-{int(row['offset'] * 100):07d}-{int(float(f'{p.end:.2f}') * 100):07d}"
        heard = read_samples(parse_recording(row), 16000)
        begin = round(row["offset"] * 16000)
        np.testing.assert_array_equal(heard, samples[begin : begin + len(heard)] / np.float32(32768))
        assert len(heard) == round(row["duration"] * 16000)
    assert {(row["split"], row["gender"], row["channel"]) for row in rows} == {
        ("train", "male", 0),
        ("dev", "female", 0),
        ("test", "female", 0),
    }
    assert {row["split"] for row in prepared(source, part="dev, test")[0]} == {"dev", "test"}


def test_the_links_of_release_3_and_copies_that_lost_them(part, tmp_path):
    source = tmp_path / "TEDLIUM_release-3"
    part(source / "data")
    legacy = source / "legacy/train"
    (legacy / "stm").mkdir(parents=True)
    (legacy / f"stm/{TALK}.stm").symlink_to(f"../../../data/stm/{TALK}.stm")
    rows, _, _ = prepared(source)
    assert len(rows) == 6 and rows[0]["audio_filepath"] == str(source / f"data/sph/{TALK}.sph")
    (legacy / "sph").mkdir()
    (legacy / f"sph/{TALK}.sph").symlink_to(f"../../../data/sph/{TALK}.sph")
    assert prepared(source)[0][0]["audio_filepath"] == str(legacy / f"sph/{TALK}.sph")
    assert [row["split"] for row in prepared(source / "data")[0]] == ["data"] * 6
    for path in (legacy / "stm", legacy / "sph"):
        for link in path.iterdir():
            link.unlink()
        path.rmdir()
    assert len(prepared(source)[0]) == 6, "without the folder legacy, all talks are in data"


def test_texts_are_written_as_words():
    assert clean_text("{COUGH} i don 't know(2) <sil> that 's it (AlGore_2009-1-2)") == "i don't know that's it"
    assert clean_text("we do n't say o 'clock {UH} {UM} y 'all") == "we don't say o'clock uh um y'all"
    assert clean_text("people 'cause 'em the students ' work") == "people 'cause 'em the students ' work"
    assert clean_text("{LAUGH} so") == "[LAUGH] so"
    assert clean_text("the <unk> went", "remove") == "the went"


@pytest.mark.parametrize("mark", ["so <unk> said", "<unk> said so"])
def test_a_segment_with_a_word_that_is_not_known_is_left_out_by_rule(part, tmp_path, mark):
    part(tmp_path / "train", extra=[f"{TALK} 1 {TALK} 1.00 3.00 {mark}", f"{TALK} 1 {TALK} 2.00 4.00 <NA> {mark}"])
    rows, drops, ledger = prepared(tmp_path)
    assert len(rows) == 6 and not ledger.bad
    assert list(drops.values()).count("unknown-word") == 2
    rows, _, _ = prepared(tmp_path, unk="remove")
    assert [row["text"] for row in rows if row["offset"] in (1, 2)] == [" ".join(mark.replace("<unk>", "").split())] * 2


def test_what_is_broken_is_dropped_by_reason(part, tmp_path):
    folder = tmp_path / "train"
    part(
        folder,
        extra=[
            ";; a comment",
            f"{TALK} 1 {TALK} 5.00",
            f"{TALK} 1 {TALK} 5.00 5.00 <o,f0,male> nothing",
            f"{TALK} 3 {TALK} 5.00 6.00 <o,f0,male> third",
            f"{TALK} 1 {TALK} 5.00 6.10 <o,f0,male>",
            f"{TALK} 1 {TALK} 9000.00 9001.00 <o,f0,male> late",
            f"{TALK} 1 {TALK} 5.00 6.20 <o,f0,male> {{LAUGH}} so",
            f"{TALK} 1 {TALK} 5.00 6.30 <o,f0,male> twice",
            f"{TALK} 1 {TALK} 5.00 6.30 <o,f0,male> twice",
            "Other_2010 1 Other_2010 5.00 6.00 <o,f0,male> no recording",
        ],
    )
    part(folder, "Mute_2010")
    (folder / "stm/Mute_2010.stm").unlink()
    rows, drops, ledger = prepared(tmp_path)
    assert drops == {
        f"{TALK}-0000000-0000050": "not-scored",
        f"{folder}/stm/{TALK}.stm:3": "not-stm",
        f"{TALK}-0000500-0000500": "bad-segment",
        f"{TALK}-0000500-0000600": "wrong-type",
        f"{TALK}-0000500-0000610": "no-text",
        f"{TALK}-0900000-0900100": "bad-segment",
        f"{TALK}-0000500-0000620": "tags",
        f"{TALK}-0000500-0000630": "duplicate-id",
        "Other_2010-0000500-0000600": "missing-audio",
        "Mute_2010": "no-text",
    }
    assert ledger.bad == len(drops) - 1 and len(rows) == 7
    assert len(prepared(tmp_path, remove_tags="laugh")[0]) == 8


def test_a_list_that_cannot_be_read_costs_its_talk(part, tmp_path):
    part(tmp_path / "train")
    part(tmp_path / "train", "Broken_2010")
    (tmp_path / "train/stm/Broken_2010.stm").write_bytes(b"\x7fELF\0\0\0")
    rows, drops, _ = prepared(tmp_path)
    assert len(rows) == 6 and drops["Broken_2010"] == "unreadable-file"


def test_a_talk_that_ends_early_loses_only_the_segments_behind_its_end(part, long_recording, tmp_path):
    part(tmp_path / "train")
    sphere = tmp_path / f"train/sph/{TALK}.sph"
    cut = round(long_recording[1][3].begin * 32000) + 1024
    sphere.write_bytes(sphere.read_bytes()[:cut])
    rows, drops, _ = prepared(tmp_path)
    assert len(rows) == 3
    assert set(list(drops.values())[1:]) <= {"truncated-audio", "bad-segment", "unreadable-audio"}
    assert set(prepared(tmp_path, check="header")[1].values()) == {"not-scored", "truncated-audio"}


def test_folders_that_are_none_of_ted_lium(part, tmp_path):
    part(tmp_path / "train")
    (tmp_path / "elsewhere/sub").mkdir(parents=True)
    for source in ("train/stm", "elsewhere"):
        expected = "expected the folder of a release of TED-LIUM, with train/stm, dev/stm or test/stm"
        with pytest.raises(DataError, match=rf"{source}: {expected} \(pass .*\)$"):
            prepared(tmp_path / source)
    with pytest.raises(DataError, match="no such folder, expected the folder of a release of TED-LIUM"):
        prepared(tmp_path / "none")
    with pytest.raises(UsageError, match=r"--part eval: not in .*, which has train"):
        prepared(tmp_path, part="eval")
    (tmp_path / f"train/stm/{TALK}.stm").unlink()
    with pytest.raises(DataError, match=r"no .stm files in this folder"):
        prepared(tmp_path)
