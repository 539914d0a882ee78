"""Fuzz `ds2 prepare csv`: delimiters, quotes, headers, encodings, line ends, JSON lists, and damaged real tables."""

import csv
import io
import json
import wave
from pathlib import Path

import pytest
from fuzzing import check_counts, ds2, fuzz
from hypothesis import strategies as st
from inputs import ENCODINGS, JSON, LINE_ENDS, NUMBERS, TEXTS, UNICODE, damaged, encode

from ds2cli.audio.formats import AUDIO_SUFFIXES

AUDIO = st.sampled_from(["a.wav", "b.WAV", "sub/c.wav", "a", "missing.wav", "no.txt", ".", "", "/dev/null", "a.wav "])
HEADS = st.sampled_from(
    [
        "path",
        "sentence",
        "Text",
        " audio_filepath ",
        "id",
        "ID",
        "speaker",
        "client_id",
        "lang",
        "offset",
        "duration",
        "",
    ]
)
OPTIONS = st.lists(
    st.sampled_from(
        [
            *(
                ("--audio-column", "0"),
                ("--text-column", "1"),
                ("--no-text",),
                ("--numbers", "spell"),
                ("--lang", "tr"),
            ),
            *(("--audio-dir", "sub"), ("--check", "header"), ("--id-column", "id"), ("--speaker-column", "2")),
        ]
    ),
    max_size=3,
    unique=True,
).map(lambda options: [word for option in options for word in option])


def write_recordings():
    """Three recordings of half a second, one of them in a folder."""
    Path("sub").mkdir()
    for name in ("a.wav", "b.WAV", "sub/c.wav"):
        with wave.open(name, "wb") as f:
            f.setparams((1, 2, 8000, 0, "NONE", ""))
            f.writeframes(bytes(8000))


def prepare(data, *options, expected=None, name="table.csv"):
    write_recordings()
    Path(name).write_bytes(data)
    run = ds2("prepare", "csv", name, "out.jsonl", "--max-bad", 100, "--nj", 1, *options)
    check_counts(run, "out.jsonl", expected)
    return run


@st.composite
def tables(draw):
    """A table that no program wrote: cells of any text between delimiters and stray quotation marks."""
    delimiter, end = draw(st.sampled_from([",", "\t", ";", "|"])), draw(LINE_ENDS)
    width = draw(st.integers(1, 4))
    cell = st.one_of(AUDIO, TEXTS, TEXTS.map('"{}"'.format), TEXTS.map('"{}'.format))
    head = draw(st.lists(st.one_of(HEADS, HEADS, TEXTS), min_size=width, max_size=width))
    rows = draw(st.lists(st.lists(cell, min_size=width - 1, max_size=width + 1), max_size=5))
    first = draw(st.sampled_from(["", "", "", f"sep={delimiter}{end}", end, "\ufeff", "# comment" + end]))
    return encode(first + end.join(delimiter.join(row) for row in [head, *rows]), draw(ENCODINGS))


@fuzz(tables(), OPTIONS)
def test_any_table(data, options):
    prepare(data, *options)


# a line break in a quoted cell ends a row where the next line looks like one
CELLS = UNICODE.map(lambda text: text.replace("\0", "")).filter(
    lambda text: not any(text.lower().rstrip().endswith(ending) for ending in AUDIO_SUFFIXES)
)


@fuzz(
    st.lists(st.tuples(st.sampled_from(["a.wav", "b.WAV", "missing.wav"]), CELLS, CELLS), max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_row_that_the_csv_module_wrote_is_counted(rows, delimiter, quoting, encoding, end):
    table = io.StringIO()
    writer = csv.writer(table, delimiter=delimiter, quoting=quoting, lineterminator=end)
    # one row on each line: where a row ends is unambiguous
    rows = [[cell.replace("\n", " ").replace("\r", " ").replace("\t", " ") for cell in row] for row in rows]
    writer.writerows([["path", "sentence", "note"], *rows])
    prepare(table.getvalue().encode(encoding), expected=len(rows))


@fuzz(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "audio_filepath": st.one_of(AUDIO, JSON),
                "text": st.one_of(TEXTS, JSON),
                "duration": st.one_of(NUMBERS, JSON),
                "offset": st.one_of(st.floats(0, 1), NUMBERS, JSON),
                "id": st.one_of(UNICODE, JSON),
                "speaker": JSON,
                "lang": JSON,
            },
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["lines", "list", "indented list", "objects", "joined list"]),
)
def test_every_row_of_a_json_table_is_counted(rows, form):
    if form == "lines":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    elif form == "objects":
        text = "\n".join(json.dumps(row, indent=2) for row in rows)
    else:
        text = json.dumps(rows, indent=1 if form == "indented list" else None)
    # {} on the first line is a line of JSON, and one object of objects is a table by ids
    by_id = any(row and all(isinstance(value, dict) for value in row.values()) for row in rows)
    is_other = by_id or (form == "objects" and not rows[0])
    prepare(text.encode(), expected=None if is_other else len(rows), name="table.json")


@fuzz(st.data())
@pytest.mark.parametrize("name", ["commonvoice/en/train.tsv", "LJSpeech-1.1/metadata.csv", "an4_nemo/an4_val.json"])
def test_damaged_tables(shared_data, name, data):
    lines = (shared_data / name).read_bytes().splitlines(keepends=True)
    some = b"".join([lines[0], *data.draw(st.lists(st.sampled_from(lines[1:]), max_size=6))])
    prepare(data.draw(damaged(some)), name=Path(name).name)
