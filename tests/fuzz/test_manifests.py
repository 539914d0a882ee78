"""Fuzz the commands that read manifests: any JSON in any field, any order, damaged files and archives."""

import gzip
import json
from pathlib import Path

from fuzzing import check_counts, ds2, fuzz, rows_of
from hypothesis import strategies as st
from inputs import JSON, NUMBERS, UNICODE, damaged

from ds2cli.manifest import FIELDS

IDS = st.one_of(st.sampled_from("abcdefgh"), st.sampled_from(["a b", "", "\n", "é", "\ud800", "z" * 60, "a-1"]))
TYPICAL = {
    **dict.fromkeys(("text", "pred_text", "speaker", "lang", "split"), UNICODE),
    **dict.fromkeys(("duration", "offset", "step_s", "speed", "pred_score"), st.one_of(st.floats(0, 100), NUMBERS)),
    **dict.fromkeys(("num_frames", "num_steps", "sample_rate", "hits"), st.integers(0, 500)),
    **dict.fromkeys(("audio_filepath", "feats", "emission"), st.sampled_from(["a.wav", "x.ark:2", "/a", "..", "a\0"])),
    "nbest": st.lists(st.fixed_dictionaries({"text": UNICODE}), max_size=2),
}
ROWS = st.fixed_dictionaries(
    {"id": IDS},
    optional={
        name: st.one_of(TYPICAL.get(name, JSON), TYPICAL.get(name, JSON), JSON) for name in FIELDS if name != "id"
    },
)
LINES = st.one_of(
    ROWS.map(json.dumps),
    ROWS.map(lambda row: json.dumps(row, ensure_ascii=False)),
    st.sampled_from(["", "{}", "null", "[]", "{'id': 'a'}", '{"id": "a"', "\ufeff", '{"id": "a", "id": "b"}', "1e999"]),
    st.text(max_size=20).filter(lambda text: not any(c in "\n\r" for c in text)),
)
FILTERS = (
    ("data", "sort"),
    ("data", "fix"),
    ("data", "fix", "--audio", "decode"),
    ("data", "subset", "--first", "2"),
    ("data", "subset", "--random", "2", "--min-duration", "1"),
    ("data", "subset", "--match", "a|b"),
    ("score",),
    ("score", "--normalizer", "prepare", "--by", "speaker", "--unit", "both"),
)
READERS = (
    *(("data", "stats"), ("data", "show"), ("data", "validate"), ("data", "validate", "--files", "--normalized")),
    (
        "data",
        "validate",
        "--audio",
        "header",
        "--train-config",
        "35m-conv-1x1d",
        "--speeds",
        "1.1",
        "--json",
        "--strict",
    ),
    *(("score", "--worst", "3", "--confusions", "3"), ("lm", "info", "model.arpa")),
)


def write_manifest(lines, is_sorted, name="in.jsonl"):
    """Write the lines in the order of their ids if they should be sorted; return how many have something in them."""
    lines = [line for line in lines if "\n" not in line and "\r" not in line]

    def key(line):
        try:
            return str(json.loads(line)["id"])
        except (ValueError, TypeError, KeyError, IndexError):
            return ""

    if is_sorted:
        lines = sorted(lines, key=key)
    text = "".join(line + "\n" for line in lines)
    Path(name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return sum(bool(line.removeprefix("\ufeff").strip()) for line in lines)


@fuzz(st.lists(LINES, max_size=6), st.sampled_from(FILTERS), st.booleans())
def test_every_line_of_a_manifest_is_counted(lines, command, is_sorted):
    expected = write_manifest(lines, is_sorted)
    text = Path("in.jsonl").read_bytes()
    run = ds2(*command, "in.jsonl", "out.jsonl", "--max-bad", 100)
    # a file that is UTF-16 or binary by its first bytes is another one, and a lone list is a document of no rows
    is_other = b"\0" in text or text.startswith((b"\xff", b"\xfe")) or text.strip() == b"[]"
    check_counts(run, "out.jsonl", None if is_other else expected)


@fuzz(st.lists(LINES, max_size=6), st.sampled_from(READERS), st.booleans())
def test_every_command_that_reads_a_manifest(lines, command, is_sorted):
    write_manifest(lines, is_sorted)
    Path("model.arpa").write_text(ARPA)
    ds2(*command, "in.jsonl")


ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1\t<unk>\n-1\t<s>\n-1\t</s>\n-1\ta\n\n\\end\\\n"


@fuzz(st.lists(ROWS, max_size=6), st.sampled_from(["id", "speaker", "text", "duration"]), st.integers(1, 7))
def test_the_parts_of_a_split_have_every_row(rows, by, parts):
    write_manifest([json.dumps(row) for row in rows], True)
    total = ds2("data", "sort", "in.jsonl", "sorted.jsonl", "--max-bad", 100)
    assert total.status == 0
    run = ds2("data", "split", "sorted.jsonl", "part.JOB.jsonl", "--parts", parts, "--by", by)
    found = sorted(Path().glob("part.[0-9]*.jsonl"))
    assert len(found) == (parts if run.status == 0 else 0), str(run)
    if run.status == 0:
        names = [row["id"] for path in found for row in rows_of(path)]
        assert sorted(names) == [row["id"] for row in rows_of("sorted.jsonl")]


@fuzz(st.lists(ROWS, max_size=4), st.lists(ROWS, max_size=4))
def test_two_manifests(first, second):
    for name, rows in (("a", first), ("b", second)):
        write_manifest([json.dumps(row) for row in rows], True, f"{name}.in.jsonl")
        ds2("data", "sort", f"{name}.in.jsonl", f"{name}.jsonl", "--max-bad", 100)
    total = sum(len(rows_of(f"{name}.jsonl")) for name in "ab")
    check_counts(ds2("data", "combine", "a.jsonl", "b.jsonl", "c.jsonl", "--max-bad", 100), "c.jsonl", total)
    ds2("data", "overlap", "a.jsonl", "b.jsonl")
    ds2("score", "a.jsonl", "--ref", "b.jsonl")


@fuzz(st.data(), st.booleans(), st.sampled_from(FILTERS))
def test_damaged_manifests(shared_data, data, is_packed, command):
    lines = (shared_data / "an4_mfcc/dev.jsonl").read_bytes().splitlines(keepends=True)[:5]
    plain = b"".join(lines)
    if is_packed:
        Path("in.jsonl.gz").write_bytes(data.draw(damaged(gzip.compress(plain, mtime=0))))
    else:
        Path("in.jsonl").write_bytes(data.draw(damaged(plain)))
    name = "in.jsonl.gz" if is_packed else "in.jsonl"
    check_counts(ds2(*command, name, "out.jsonl", "--max-bad", 100), "out.jsonl")
