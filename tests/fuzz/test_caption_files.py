"""Fuzz the files of word times: any words, times, ids and names; each file is read by a program that reads it."""

import itertools
import json
from pathlib import Path

import srt as srt_reader
import webvtt
from fuzzing import check_no_partial_files, fuzz
from hypothesis import strategies as st
from inputs import TEXTS, UNICODE
from praatio import textgrid as praat

from ds2cli.cli.lib.captions import FOLDERS, CaptionFiles
from ds2cli.config.align import AlignConfig
from ds2cli.manifest import is_id
from ds2cli.transcripts import ctm

WORD_TEXTS = st.one_of(
    TEXTS,
    st.sampled_from(["-->", "WEBVTT", "NOTE", "1", "00:00:01,000", '"', "&amp;", "<b>", "</b>", "{\\an8}", "日本語。"]),
).map(lambda text: "".join(text.split()))
TIMES = st.one_of(st.floats(0, 60), st.sampled_from([0.0, 1e-9, 0.0005, 36000.0, 1e8]))
ITEMS = st.tuples(WORD_TEXTS, TIMES, TIMES, st.one_of(st.none(), st.floats(0, 1)))
IDS = st.one_of(st.sampled_from(["a", "A", "a/b", "a_b", "..", "-", "a b.wav", "x" * 300]), UNICODE)
# praatio takes "item [" within a label for the begin of a tier
LABELS = TEXTS.map(lambda text: text.replace("[", "("))
GAPS = st.fixed_dictionaries({"start": TIMES, "end": TIMES, "text": LABELS, "heard": LABELS})


@st.composite
def rows(draw):
    words = []
    for text, start, other, conf in draw(st.lists(ITEMS, max_size=12)):
        if text:
            word = {"word": text, "start": min(start, other), "end": max(start, other)}
            words.append(word if conf is None else {**word, "conf": conf})
    if draw(st.booleans()):
        words.sort(key=lambda word: word["start"])
    row = {"id": draw(IDS.filter(is_id)), "words": words}
    if draw(st.booleans()):
        characters = [c for word in words for c in word["word"]]
        row["chars"] = [{"char": c, "start": i / 7, "end": (i + 1) / 7} for i, c in enumerate(characters)]
    for name, values in {
        "duration": TIMES,
        "offset": TIMES,
        "speaker": TEXTS,
        "audio_filepath": st.one_of(IDS, st.sampled_from(["x.wav", "y/x.wav", "x.flac"])),
        "recording": IDS.filter(is_id),
        "gaps": st.lists(
            st.fixed_dictionaries({"start": TIMES, "end": TIMES, "text": TEXTS, "heard": TEXTS}), max_size=3
        ),
    }.items():
        if draw(st.booleans()):
            row[name] = draw(values)
    return row


@fuzz(
    st.lists(rows(), max_size=4, unique_by=lambda row: row["id"]),
    st.booleans(),
    st.sampled_from([8, 42]),
    st.integers(1, 3),
)
def test_any_words(found, by_path, line_length, max_lines):
    folders = {name: name for name in (*FOLDERS, "kaldi_data")}
    config = AlignConfig(ctm="x.ctm", line_length=line_length, max_lines=max_lines, **folders)
    with CaptionFiles(config, "words", "-", id_is_path=by_path) as files:
        for row in found:
            files.add(row)
    check_no_partial_files()
    for name, ending in FOLDERS.items():
        written = sorted(Path(name).iterdir())
        assert len(written) == len(found) and all(path.name.endswith(ending) for path in written)
    for path in Path("textgrid").iterdir():
        praat.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    numbers = []
    for path in Path("srt").iterdir():
        cues = list(srt_reader.parse(path.read_text("utf-8")))
        assert all(a.start < a.end <= b.start for a, b in itertools.pairwise(cues))
        captions = list(webvtt.read(str(Path("vtt", path.with_suffix(".vtt").name))))
        assert len(captions) == len(cues)
        numbers.append(len(cues))
    for path in Path("whisper_json").iterdir():
        assert isinstance(json.loads(path.read_text("utf-8"))["text"], str)
    total = sum(len(row["words"]) for row in found)
    lines = [line.split() for line in Path("x.ctm").read_text("utf-8").splitlines()]
    assert len(lines) == total
    if all(line[0].isprintable() and not line[0].startswith(";") for line in lines):
        assert sum(map(len, ctm.read("x.ctm").values())) == total
    check_kaldi()


def check_kaldi():
    """The rules of Kaldi's validate_data_dir.sh."""
    tables = {path.name: path.read_text("utf-8").split("\n") for path in Path("kaldi_data").iterdir()}
    assert sorted(tables) == ["segments", "spk2utt", "text", "utt2spk", "wav.scp"]
    for name, lines in tables.items():
        assert lines.pop() == "" and lines == sorted(lines, key=lambda line: line.split(" ")[0]), name
    ids = [line.split(" ")[0] for line in tables["text"]]
    assert len(ids) == len(set(ids))
    for line, id_ in zip(tables["segments"], ids, strict=True):
        first, _, start, end = line.split(" ")
        assert first == id_ and 0 <= float(start) < float(end)
    for line, id_ in zip(tables["utt2spk"], ids, strict=True):
        first, speaker = line.split(" ")
        assert first == id_ and id_.startswith(speaker)
