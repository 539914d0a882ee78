"""Fuzz `ds2 segment`: any values as words and gaps, words in order with hostile texts and ids, damaged manifests."""

import json
from pathlib import Path

from fuzzing import check_counts, ds2, fuzz, rows_of
from hypothesis import strategies as st
from inputs import JSON, NUMBERS, UNICODE, damaged
from test_manifests import ROWS, write_manifest

TIMES = st.one_of(st.floats(0, 50), st.sampled_from([0, 0.3, 1, 2.5, 20, 1e9]), NUMBERS)
SPANS = st.one_of(JSON, st.fixed_dictionaries({"start": TIMES, "end": TIMES}, optional={"word": UNICODE, "text": JSON}))
NAMES = st.text(st.sampled_from("a!-0.é中\U0001f600"), min_size=1, max_size=6)
PAUSES = st.sampled_from([0, 0, 0.001, 0.05, 0.3, 0.31, 1, 5])
OPTIONS = st.lists(
    st.sampled_from(
        [
            *(("--max-duration", n) for n in (7, 8.5, 1000)),
            *(("--mean-duration", n) for n in (2, 20, 1e6)),
            *(("--min-duration", n) for n in (0, 3)),
            *(("--min-pause", n) for n in (0, 0.05, 5)),
            *(("--max-pause", n) for n in (0.3, 1e6)),
            *(("--padding", n) for n in (0, 0.0004, 1e9)),
        ]
    ),
    max_size=3,
).map(lambda pairs: [text for pair in pairs for text in pair])


@st.composite
def aligned(draw):
    """Rows as `ds2 align` writes them, some with a hostile word, gap, offset or duration."""
    rows = []
    for name in sorted(draw(st.sets(NAMES, min_size=1, max_size=4))):
        at, words, gaps = draw(PAUSES), [], []
        for _ in range(draw(st.integers(0, 8))):
            end = at + draw(st.sampled_from([0, 0.03, 0.4, 1, 6, 30]))
            word = draw(st.sampled_from(["the", "中", "é", "1984", "a\u0301", "x\u2028"]))
            words.append({"word": word, "start": round(at, 3), "end": round(end, 3), "conf": 0.5})
            pause = draw(PAUSES)
            if draw(st.integers(0, 4)) == 0:
                text = draw(UNICODE)
                gaps.append({"start": round(end, 3), "end": round(end + pause / 2, 3), "text": text, "heard": ""})
            at = end + pause
        row = {"id": name, "audio_filepath": "a.wav", "duration": round(at, 3), "words": words}
        row["text"] = draw(st.sampled_from([" ", ""])).join(w["word"] for w in words)
        row |= {"gaps": gaps} if gaps else {}
        if draw(st.integers(0, 3)) == 0:
            row[draw(st.sampled_from(["duration", "offset", "speed", "words", "gaps", "text", "recording"]))] = draw(
                st.one_of(TIMES, JSON, st.lists(SPANS, max_size=3))
            )
        rows.append(row)
    return rows


@fuzz(aligned(), OPTIONS)
def test_aligned_recordings(rows, options):
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ds2("segment", "in.jsonl", "out.jsonl", "--max-bad", 100, *options)
    check_counts(run, "out.jsonl")
    if run.status:
        return
    by_id = {row["id"]: row for row in rows}
    texts = dict.fromkeys(by_id, "")
    for row in rows_of("out.jsonl"):
        parent = by_id[row["id"].rsplit("-", 2)[0]]
        texts[parent["id"]] += row["text"]
        end = row["offset"] + row["duration"] * row.get("speed", 1.0)
        # offsets are rounded to microseconds
        assert 0 <= parent.get("offset", 0) <= row["offset"] + 1e-6 and row["offset"] < end, str(run)
        assert all(0 <= w["start"] <= w["end"] <= row["duration"] for w in row["words"]), str(run)
        assert "".join(row["text"].split()) == "".join("".join(w["word"] for w in row["words"]).split()), str(run)
    dropped = Path("out.jsonl.dropped.jsonl")
    if not dropped.exists():
        assert all("".join(texts[n].split()) == "".join(w["word"] for w in by_id[n]["words"]) for n in texts), str(run)
    again = ds2("segment", "out.jsonl", "again.jsonl", "--max-bad", 100, *options)
    check_counts(again, "again.jsonl")
    assert ds2("data", "validate", "out.jsonl", "--no-files", "--no-normalized").status in (0, 3)


@fuzz(st.lists(ROWS, max_size=5), st.lists(st.lists(SPANS, max_size=3), max_size=5), OPTIONS)
def test_any_values(rows, spans, options):
    rows = [{**row, "words": words} for row, words in zip(rows, spans, strict=False)] + rows[len(spans) :]
    write_manifest([json.dumps(row) for row in rows], True)
    check_counts(ds2("segment", "in.jsonl", "out.jsonl", "--max-bad", 100, *options), "out.jsonl")


@fuzz(st.data(), aligned())
def test_damaged_manifests_of_words(data, rows):
    plain = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass")
    Path("in.jsonl").write_bytes(data.draw(damaged(plain)))
    check_counts(ds2("segment", "in.jsonl", "out.jsonl", "--max-bad", 100), "out.jsonl")
