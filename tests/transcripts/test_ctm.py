"""Reading ctm and stm, and writing ctm."""

import io
import random
import re
import subprocess

import pytest

from ds2cli import manifest
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.metrics.alignment import align_words
from ds2cli.stages.sclite import find_program
from ds2cli.transcripts import ctm, stm


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text, "utf-8")
        return str(tmp_path / name)

    return write


def join(file, stm_text, ctm_text, ledger=None):
    ref = file("r.stm", stm_text)
    channels = ctm.read(file("h.ctm", ctm_text))
    return list(ctm.join_segments(channels, stm.read(ref), ref, ledger or Ledger()))


STM = """;; LABEL "o" "Overall" "x"
f 1 ann 0.0 1.0 <o,f0,female> a b
f 1 bob 1.5 2.5 c d
"""


def test_words_belong_to_the_segment_that_ends_after_their_middle(file):
    text = "f 1 0.1 0.2 a\nf 1 0.9 0.19 b\nf 1 0.9 0.2 late\nf 1 1.2 0.1 gap\nf 1 1.6 0.1 c\nf 1 3 0.1 tail\n"
    ann, bob = join(file, STM, text)
    assert (ann["pred_text"], bob["pred_text"]) == ("a b", "late gap c tail")
    del ann["pred_words"]
    assert ann == {
        "id": "ann-f-1-00000000-00001000", "recording": "f", "stm_channel": "1", "channel": 0, "speaker": "ann",
        "offset": 0.0, "duration": 1.0, "label": "o,f0,female", "text": "a b", "pred_text": "a b",
    }  # fmt: skip
    assert "label" not in bob
    assert manifest.parse(manifest.format_row(bob)) == bob, "another stage can read the rows"
    # times from the begin of the segment
    assert bob["pred_words"][2] == {"word": "c", "start": 0.1, "end": 0.2}


def test_a_channel_without_words_has_no_hypothesis(file):
    rows = join(file, "f 1 s 0 1 a\nf 2 s 0 1 b\nf 1 s 1 2\n", "f 1 0.1 0.1 x 0.9\n")
    assert [row.get("pred_text") for row in rows] == ["x", "", None]
    assert rows[0]["pred_words"] == [{"word": "x", "start": 0.1, "end": 0.2, "conf": 0.9}]


def test_segments_to_be_ignored_are_dropped_with_their_words(file):
    ledger = Ledger()
    text = "f 1 s 0 1 a\nf 1 s 1 2 ignore_time_segment_in_scoring\nf 1 s 2 3 b\n"
    rows = join(file, text, "f 1 0.1 0.1 a\nf 1 1.1 0.1 x\nf 1 2.1 0.1 b\n", ledger)
    assert [row["pred_text"] for row in rows] == ["a", "b"]
    assert ledger.reasons == {"ignored-segment": 1} and ledger.bad == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("g 1 0.1 0.1 x", "recording 'g' has words in channel '1', but no reference: it has no segments there"),
        ("f A 0.1 0.1 x", "recording 'f' has words in channel 'A', but no reference: its segments are of channel 1"),
    ],
)
def test_words_without_a_reference_are_refused(file, line, message):
    with pytest.raises(DataError, match=message):
        join(file, STM, f"{line}\n")


def test_two_segments_with_the_same_id_are_refused(file):
    with pytest.raises(DataError, match="two segments have the same speaker, recording, channel and times"):
        join(file, "f 1 s 0 1 a\nf 1 s 0 1 b\n", "")


@pytest.mark.parametrize(
    "line", ["f 1 s 0", "f 1 s x 1 a", "f 1 s 2 1 a", "f 1 s -1 1 a", "f 1 s nan 1 a", "f 1 s 0 inf"]
)
def test_a_bad_segment_is_a_data_error(file, line):
    with pytest.raises(DataError, match=r"r\.stm:2: expected RECORDING CHANNEL SPEAKER BEGIN END"):
        stm.read(file("r.stm", f"f 1 s 0 1 a\n{line}\n"))


@pytest.mark.parametrize(
    "line", ["f 1 0.1 0.1", "f 1 a 0.1 x", "f 1 0.1 -1 x", "f 1 nan 0.1 x", "f 1 0.1 0.1 x y", "f 1 0.1 0.1 x nan"]
)
def test_a_bad_word_is_counted_or_refused(file, line):
    path, ledger = file("h.ctm", f"; comment\n\nf 1 0.1 0.1 a 0.5 0\n{line}\n"), Ledger()
    assert [word.word for word in ctm.read(path, ledger)["f", "1"]] == ["a"]
    assert ledger.reasons == {"not-ctm": 1} and "h.ctm:4: expected RECORDING" in ledger.rows[0]["detail"]
    with pytest.raises(DataError, match=r"h\.ctm:4: "):
        ctm.read(path)


def test_alternatives_are_words_like_others(file):
    lines = ["f 1 * * <ALT_BEGIN>", "f 1 1 0.1 um", "f 1 * * <ALT>", "f 1 1 0.1 uh NA", "f 1 * * <ALT_END>", ""]
    ledger = Ledger()
    assert [word.word for word in ctm.read(file("h.ctm", "\n".join(lines)), ledger)["f", "1"]] == ["um", "uh"]
    assert len(ledger.notes) == 1 and "words with alternatives: 1" in ledger.notes[0]


def test_recordings_as_rows(file):
    channels = ctm.read(file("h.ctm", "b 1 2 0.1 y\nb 1 1 0.1 x\na 2 5 1 q\na 1 6 1 r\n"))
    assert [(row["id"], row["pred_text"]) for row in ctm.as_rows(channels)] == [("a", "q r"), ("b", "x y")]


def test_written_words_are_read_back(file):
    f = io.StringIO()
    writer = ctm.CtmWriter(f)
    word = {"word": "yes", "start": 0.1, "end": 0.35, "conf": 0.5}
    writer.add({"id": "u1", "pred_words": [word]})
    writer.add({"id": "u2"})
    writer.add({"id": "u3", "audio_filepath": "wav/long file.1.wav", "offset": 60.0, "pred_words": [word]})
    writer.add({"id": "u4", "audio_filepath": "wav/long file.1.wav", "offset": 30.0, "pred_words": [word]})
    writer.add({"id": "u5", "recording": "z", "stm_channel": "B", "offset": 1.0, "pred_words": [{**word, "start": 0}]})
    writer.finish()
    assert f.getvalue() == (
        "u1 1 0.100 0.250 yes 0.5000\n"
        "long_file.1 1 30.100 0.250 yes 0.5000\n"
        "long_file.1 1 60.100 0.250 yes 0.5000\n"
        "z B 1.000 0.350 yes 0.5000\n"
    )
    assert writer.missing == 1 and not writer.is_sorted
    assert ctm.read(file("x.ctm", f.getvalue()))["u1", "1"] == [ctm.TimedWord("yes", 0.1, 0.25, 0.5)]


def test_a_channel_of_a_recording_is_named_as_nist_does():
    f = io.StringIO()
    writer = ctm.CtmWriter(f)
    word = {"word": "yes", "start": 0.1, "end": 0.35}
    for channel in (0, 1):
        row = {"id": f"call-ch{channel}", "audio_filepath": "wav/call.wav", "channel": channel}
        writer.add({**row, "pred_words": [word]})
    writer.finish()
    assert [line.split()[:2] for line in f.getvalue().splitlines()] == [["call", "1"], ["call", "2"]]
    assert writer.is_sorted


def test_words_without_confidence_and_bad_words():
    f = io.StringIO()
    writer = ctm.CtmWriter(f)
    writer.add({"id": "u1", "pred_words": [{"word": "a", "start": 0, "end": 1}]})
    writer.finish()
    assert f.getvalue() == "u1 1 0.000 1.000 a\n" and writer.is_sorted
    for word in ({"word": "a"}, {"word": "a b", "start": 0, "end": 1}, {"word": 1, "start": 0, "end": 1}):
        with pytest.raises(BadUtterance, match="must have word, start and end"):
            writer.add({"id": "u2", "pred_words": [word]})


@pytest.mark.long
def test_words_are_assigned_as_by_sclite(file, tmp_path):
    program = find_program("sclite")
    if program is None:
        pytest.skip("needs SCTK's sclite (utils/install_sctk.sh)")
    rng = random.Random(7)
    segments, words = [], []
    for k in range(60):
        for channel in "12"[: rng.randint(1, 2)]:
            time, key = 0.0, f"f{k:02d} {channel}"
            for n in range(rng.randint(1, 6)):
                # gaps, segments that touch and some that overlap
                begin = max(0.0, time + rng.choice([0.0, 0.0, 0.8, -0.3]))
                time = begin + rng.choice([0.5, 1.0, 2.0])
                text = "IGNORE_TIME_SEGMENT_IN_SCORING" if rng.random() < 0.15 else " ".join(rng.choices("abc", k=4))
                segments.append(f"{key} spk{k}-{channel}-{n} {begin:.2f} {time:.2f} <o,f{n}> {text}\n")
            starts = sorted(round(rng.uniform(-0.2, time + 1), 2) for _ in range(rng.randint(1, 20)))
            words += [f"{key} {start:.2f} {rng.choice([0.0, 0.1, 0.5]):.2f} {rng.choice('abc')}\n" for start in starts]
    # segments that overlap are sorted by their begin, as sclite expects
    segments.sort(key=lambda line: (*line.split()[:2], float(line.split()[3])))
    rows = join(file, "".join(segments), "".join(words))
    command = [
        program,
        "-r",
        "r.stm",
        "stm",
        "-h",
        "h.ctm",
        "ctm",
        "-s",
        "-e",
        "utf-8",
        "-f",
        "0",
        "-o",
        "sgml",
        "-n",
        "x",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    theirs = {}
    for speaker, path in re.findall(r'<SPEAKER id="(.*)">\n<PATH.*\n(.*\n)?</PATH>', (tmp_path / "x.sgml").read_text()):
        theirs[speaker] = re.findall(r"(?:^|:)([CSID]),", path)
    ours = align_words([row["text"] for row in rows], [row["pred_text"] for row in rows], "sclite")
    assert len(rows) == len(theirs) > 100
    for i, row in enumerate(rows):
        assert ["CSID"[step] for step in ours.steps[ours.slice(i)]] == theirs[row["speaker"]], row
