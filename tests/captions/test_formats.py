"""Each format is read by a program that reads it: praatio, srt, webvtt-py, FFmpeg; labels and tables by their rules."""

import csv
import io
import itertools
import json

import av
import pysubs2
import pytest
import srt as srt_reader
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praat

from ds2cli.captions import audacity, elan, json_document, srt, textgrid, vtt
from ds2cli.captions.cues import Cue, Limits, make_cues
from ds2cli.captions.spans import clean, separate, spans_of, tiers_of

HOUR = 3600.0
WORDS = [
    {"word": "Straße", "start": 0.5, "end": 0.9, "conf": 0.75},
    {"word": '"quoted"', "start": 1.0, "end": 1.2},
    {"word": "-->", "start": 1.2, "end": 1.2},
    {"word": "R&D", "start": 1.19, "end": 1.6, "conf": 1.0},
    {"word": "a<b>c", "start": 1.6, "end": 2.0},
    {"word": "你好", "start": 36000.25, "end": 36000.75},
]
ROW = {
    "id": "u1",
    "duration": 36001.5,
    "lang": "de",
    "words": WORDS,
    "chars": [{"char": c, "start": 0.5 + i / 10, "end": 0.6 + i / 10} for i, c in enumerate("Str")],
    "gaps": [
        {"start": 3, "end": 4, "text": "was not said", "heard": ""},
        {"start": 5, "end": 6, "text": "", "heard": "um"},
        {"start": 7, "end": 8, "text": "x", "heard": 'y"'},
    ],
}
HOSTILE = [
    {"word": w, "start": i, "end": i + 0.5} for i, w in enumerate(["\0", "\x1b[0m", "\ud800", "\x7f", "ok", "\\"])
]
ASSIGNED = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])
WORD_LISTS = st.lists(
    st.tuples(st.text(ASSIGNED, min_size=1, max_size=6), st.integers(0, 3000), st.integers(0, 3000)), max_size=12
).map(
    lambda items: [
        {"word": text, "start": start / 1000, "end": (start + length) / 1000}
        for (text, _, length), start in zip(items, sorted(start for _, start, _ in items), strict=True)
        if len(text.split()) == 1
    ]
)


def read_textgrid(tmp_path, text):
    path = tmp_path / "x.TextGrid"
    path.write_text(text, "utf-8")
    return praat.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")


def test_praatio_reads_a_textgrid(tmp_path):
    grid = read_textgrid(tmp_path, textgrid.format_textgrid(tiers_of(ROW, WORDS), ROW["duration"]))
    assert grid.tierNames == ("words", "characters", "gaps") and grid.maxTimestamp == 36001.5
    for tier in grid.tiers:
        assert isinstance(tier, praat.IntervalTier)
        # contiguous from the begin to the end
        assert tier.entries[0].start == 0 and tier.entries[-1].end == 36001.5
        assert all(a.end == b.start for a, b in itertools.pairwise(tier.entries))
    spoken = [entry for entry in grid.getTier("words").entries if entry.label]
    assert [entry.label for entry in spoken] == [word["word"] for word in WORDS]
    # the word without a duration lasts a millisecond, and so does not overlap the next one
    assert [(entry.start, entry.end) for entry in spoken] == [
        *((0.5, 0.9), (1.0, 1.2), (1.2, 1.201), (1.201, 1.6), (1.6, 2.0), (36000.25, 36000.75))
    ]
    assert [e.label for e in grid.getTier("characters").entries if e.label] == ["S", "t", "r"]
    labels = [e.label for e in grid.getTier("gaps").entries if e.label]
    assert labels == ["text: was not said", "heard: um", 'text: x; heard: y"']


@pytest.mark.parametrize(("duration", "end"), [(0.0, 0.001), (2.5, 2.5)])
def test_a_textgrid_without_words_is_silence(tmp_path, duration, end):
    grid = read_textgrid(tmp_path, textgrid.format_textgrid(tiers_of({"id": "a"}, []), duration))
    (tier,) = grid.tiers
    assert [(e.start, e.end, e.label) for e in tier.entries] == [(0, end, "")]


@settings(deadline=None, max_examples=60)
@given(WORD_LISTS)
def test_words_come_back_from_a_textgrid(tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("grid")
    grid = read_textgrid(folder, textgrid.format_textgrid({"words": spans_of(words, "word")}, 1.0))
    entries = grid.getTier("words").entries
    assert all(a.end == b.start for a, b in itertools.pairwise(entries))
    # praatio removes the spaces around labels, and what Python takes for one
    assert [e.label for e in entries if e.label] == [w["word"].strip() for w in words if w["word"].strip()]


def test_subtitle_readers_agree(tmp_path):
    cues = make_cues(WORDS, Limits(), (), ROW["duration"])
    (tmp_path / "x.srt").write_text(srt.format_srt(cues), "utf-8")
    (tmp_path / "x.vtt").write_text(vtt.format_vtt(cues), "utf-8")
    first = list(srt_reader.parse((tmp_path / "x.srt").read_text("utf-8")))
    second = list(webvtt.read(str(tmp_path / "x.vtt")))
    assert [s.content.split("\n") for s in first] == [['Straße "quoted" -> R&D a<b>c'], ["你好"]]
    assert [s.index for s in first] == [1, 2]
    assert [c.raw_text for c in second] == ['Straße "quoted" --&gt; R&amp;D a&lt;b&gt;c', "你好"]
    for cue, ours, theirs in zip(cues, first, second, strict=True):
        assert round(ours.start.total_seconds() * 1000) == cue.start
        assert round(ours.end.total_seconds() * 1000) == cue.end
        assert theirs.start == srt.format_time(cue.start, ".") and theirs.end == srt.format_time(cue.end, ".")
    assert second[1].start == "10:00:00.250"


def read_with_ffmpeg(path):
    """The cues of a file as FFmpeg decodes them: (start ms, end ms, text)."""
    cues = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            if packet.size:
                text = "".join(rect.dialogue.decode() for rect in stream.decode2(packet).rects)
                scale = 1000 * packet.time_base
                cues.append((int(packet.pts * scale), int((packet.pts + packet.duration) * scale), text))
    return cues


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_ffmpeg_reads_subtitles(tmp_path, kind):
    words = [{**word, "word": word["word"].replace("a<b>c", "a<c")} for word in WORDS]
    cues = make_cues([w for w in words if w["word"] != "-->"], Limits(line_length=12))
    path = tmp_path / f"x.{kind}"
    path.write_text({"srt": srt.format_srt, "vtt": vtt.format_vtt}[kind](cues), "utf-8")
    found = read_with_ffmpeg(path)
    assert [(start, end) for start, end, _ in found] == [(cue.start, cue.end) for cue in cues]
    assert [text.replace("\\N", "\n") for _, _, text in found] == ["\n".join(cue.lines) for cue in cues]
    assert found[-1][0] == 36000250


def test_an_arrow_cannot_look_like_the_times_of_a_cue():
    words = [
        {"word": w, "start": i, "end": i + 1} for i, w in enumerate(["1", "00:00:01,000", "---->", "00:00:02,000", "x"])
    ]
    cues = make_cues(words, Limits(max_cue=60))
    (found,) = srt_reader.parse(srt.format_srt(cues))
    assert found.content == "1 00:00:01,000 -> 00:00:02,000 x"
    (caption,) = webvtt.from_string(vtt.format_vtt(cues))
    assert "-->" not in caption.raw_text and caption.raw_text.startswith("1 00:00:01,000 ----&gt; ")


def test_subtitles_without_cues():
    assert srt.format_srt([]) == "" and list(srt_reader.parse("")) == []
    assert vtt.format_vtt([]) == "WEBVTT\n" and list(webvtt.from_string("WEBVTT\n")) == []


def test_times_of_more_than_a_hundred_hours():
    assert srt.format_time(360_000_001 + 1000 * 61, ",") == "100:01:01,001"
    text = vtt.format_vtt([Cue(("x",), 360_000_001, 360_000_002)])
    assert text == "WEBVTT\n\n100:00:00.001 --> 100:00:00.002\nx\n"


def test_audacity_labels():
    lines = [line.split("\t") for line in audacity.format_labels(WORDS).splitlines()]
    assert lines[0] == ["0.500000", "0.900000", "Straße"] and lines[-1] == ["36000.250000", "36000.750000", "你好"]
    # the rule of Audacity's reader: two numbers, end not before start, the rest is the label
    assert [(float(a), float(b), label) for a, b, label in lines] == [(w["start"], w["end"], w["word"]) for w in WORDS]
    assert audacity.format_labels([]) == ""


def test_a_table_for_elan():
    table = list(
        csv.DictReader(io.StringIO(elan.format_table(tiers_of(ROW, WORDS))), delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    assert list(table[0]) == ["Begin Time", "End Time", "Duration", "Tier", "Annotation"]
    assert [line["Annotation"] for line in table if line["Tier"] == "words"] == [word["word"] for word in WORDS]
    assert {line["Tier"] for line in table} == {"words", "characters", "gaps"}
    for line in table:
        begin, end, duration = (float(line[name]) for name in ("Begin Time", "End Time", "Duration"))
        assert begin < end and round(end - begin, 3) == duration
    assert elan.format_table({"words": []}).count("\n") == 1


def test_a_json_document():
    document = json.loads(json_document.format_document(json_document.make_document(ROW, WORDS)))
    assert (document["id"], document["language"], document["duration"]) == ("u1", "de", 36001.5)
    assert document["text"] == " ".join(word["word"] for word in WORDS)
    assert [s["text"] for s in document["segments"]] == ['Straße "quoted" --> R&D a<b>c', "你好"]
    words = [word for segment in document["segments"] for word in segment["words"]]
    assert [(w["word"], w["start"], w["end"], w.get("score")) for w in words] == [
        (w["word"], w["start"], w["end"], w.get("conf")) for w in WORDS
    ]
    assert document["gaps"] == ROW["gaps"] and [s["id"] for s in document["segments"]] == [0, 1]
    empty = json_document.make_document({"id": "a", "audio_filepath": object()}, [])
    assert empty == {"id": "a", "text": "", "segments": []}


def test_characters_that_no_reader_expects_are_replaced(tmp_path):
    assert clean("a\0b\x1b\x85\udc80\u200dé") == "a\ufffdb\ufffd\ufffd\ufffd\u200dé"
    words, row = HOSTILE, {"id": "a", "words": HOSTILE}
    grid = read_textgrid(tmp_path, textgrid.format_textgrid(tiers_of(row, words)))
    expected = ["\ufffd", "\ufffd[0m", "\ufffd", "\ufffd", "ok", "\\"]
    assert [e.label for e in grid.getTier("words").entries if e.label] == expected
    cues = make_cues(words, Limits())
    for text in (srt.format_srt(cues), vtt.format_vtt(cues), audacity.format_labels(words)):
        assert text.encode() and "\0" not in text
    document = json.loads(json_document.format_document(json_document.make_document(row, words)))
    assert document["text"].encode("utf-8", "surrogatepass")


@given(WORD_LISTS)
@settings(deadline=None, max_examples=60)
def test_spans_do_not_overlap(words):
    spans = spans_of(words, "word")
    assert [span.text for span in spans] == [word["word"] for word in words]
    assert all(a.start < a.end <= b.start for a, b in itertools.pairwise(spans))
    assert separate(spans) == spans
    # what does not overlap stays
    if all(a["end"] <= b["start"] for a, b in itertools.pairwise(words)) and all(w["start"] < w["end"] for w in words):
        assert [(s.start, s.end) for s in spans] == [(round(1000 * w["start"]), round(1000 * w["end"])) for w in words]


def test_pysubs2_reads_the_document_and_the_subtitles_alike(tmp_path):
    words = [{"word": f"w{i}", "start": i * 0.5, "end": i * 0.5 + 0.4, "conf": 0.5} for i in range(100)]
    document = json.loads(json_document.format_document(json_document.make_document({"id": "a"}, words)))
    lines = list(pysubs2.load_from_whisper(document))
    assert [(line.start, line.end) for line in lines] == [
        (round(1000 * s["start"]), round(1000 * s["end"])) for s in document["segments"]
    ]
    assert " ".join(line.plaintext for line in lines) == document["text"] == " ".join(w["word"] for w in words)
    cues = make_cues(words, Limits())
    for ending, text in ((srt.ENDING, srt.format_srt(cues)), (vtt.ENDING, vtt.format_vtt(cues))):
        (tmp_path / f"x{ending}").write_text(text, "utf-8")
        found = pysubs2.load(str(tmp_path / f"x{ending}"))
        assert [(line.start, line.end, line.plaintext) for line in found] == [
            (cue.start, cue.end, "\n".join(cue.lines)) for cue in cues
        ]


@pytest.mark.peer
def test_praat_reads_a_textgrid(tmp_path):
    parselmouth = pytest.importorskip("parselmouth", reason="needs Praat (pip install praat-parselmouth)")
    (tmp_path / "x.TextGrid").write_text(textgrid.format_textgrid(tiers_of(ROW, WORDS), ROW["duration"]), "utf-8")
    grid = parselmouth.read(str(tmp_path / "x.TextGrid"))

    def ask(*question):
        return parselmouth.praat.call(grid, *question)

    assert ask("Get number of tiers") == 3 and ask("Get end time") == 36001.5
    labels = [ask("Get label of interval", 1, i + 1) for i in range(int(ask("Get number of intervals", 1)))]
    assert [label for label in labels if label] == [word["word"] for word in WORDS]


@pytest.mark.peer
def test_crowsetta_reads_audacity_labels(tmp_path):
    crowsetta = pytest.importorskip("crowsetta", reason="needs crowsetta (pip install crowsetta)")
    # it takes quotation marks for those of CSV, which Audacity does not
    words = [word for word in WORDS if '"' not in word["word"]]
    (tmp_path / "x.txt").write_text(audacity.format_labels(words), "utf-8")
    found = crowsetta.formats.seq.AudSeq.from_file(tmp_path / "x.txt")
    assert list(found.labels) == [word["word"] for word in words]
    assert list(found.start_times) == [word["start"] for word in words]
