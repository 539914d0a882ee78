"""Fuzz what reads results: transcripts in any format as hypotheses and references, comparisons, and votes."""

import gzip
import json
from pathlib import Path

from fuzzing import check_counts, ds2, fuzz, rows_of
from hypothesis import strategies as st
from inputs import ENCODINGS, LINE_ENDS, TEXTS, UNICODE, damaged, encode
from test_manifests import ROWS, write_manifest

TRN = "hi there (a-2)\nthe cat {sat / @} (a-1)\n;; a comment\n(b-1)\n"
KALDI = "a-1 the cat sat\na-2 hi there\nb-1\n"
CTM = "r 1 0.00 0.10 the 0.5\nr 1 0.10 0.20 cat 0.25\nr A 2.5 0.20 hi NA\nq 1 0 1 there\n"
STM = "r 1 s-1 0.0 2.0 <o,f0> the cat sat\nr A s-2 2.0 3.0 hi\nq 1 s-1 0 1 (uh) there re-\n;; a comment\n"
WORDS = [{"word": "a", "start": 0, "end": 0.1, "conf": 0.5}, {"word": "cat", "start": 0.1, "end": 0.2, "conf": 1}]
RESULT = [
    {"id": "a-1", "text": "the cat", "pred_text": "a cat", "pred_words": WORDS, "speaker": "s", "duration": 2.5},
    {"id": "a-2", "text": "hi there", "lang": "tr"},
    {"id": "b-1", "text": "", "pred_text": "one two", "nbest": [{"text": "one"}, {}]},
]
SCORE = (
    '{"utterances":[\n{"id":"a-1","text":"the cat","pred_text":"a cat","word":"SC"},\n{"id":"a-2","text":"hi"}\n],\n'
    '"certificate":{"references":"00","normalizer":"none","normalizer_hash":"11"},\n"units":{}\n}\n'
)
FILES = {
    "x.trn": TRN,
    "x.ctm": CTM,
    "x.stm": STM,
    "text": KALDI,
    "x.json": SCORE,
    "x.jsonl": "".join(json.dumps(row) + "\n" for row in RESULT),
}
FORMATS = ["auto", "rows", "trn", "ctm", "kaldi"]
OPTIONS = (
    st.sampled_from([(), ("--alignment", "sclite")]),
    st.sampled_from([(), *(("--unit", unit) for unit in ("word", "char", "mixed"))]),
    st.sampled_from([(), *(("--normalizer", name) for name in ("basic", "english", "chinese", "prepare"))]),
    st.sampled_from([(), *(("--mode", mode) for mode in ("all", "present", "strict"))]),
    st.sampled_from([(), *(("--by", name) for name in ("speaker", "length", "duration", "label", "nbest"))]),
    st.sampled_from([(), ("--confusions", "9", "--context", "2", "--worst", "9"), ("--no-char-spaces",)]),
)
OUTPUTS = {
    ("--json", "new.json"): ["new.json"],
    ("--trn", "new"): ["new.hyp.trn", "new.ref.trn"],
    ("--ctm", "new.ctm"): ["new.ctm"],
    ("--kaldi", "kaldi"): [
        "kaldi/scoring_kaldi/best_wer",
        *(f"kaldi/scoring_kaldi/wer_details/{name}" for name in ("ops", "per_spk", "per_utt", "wer_bootci")),
    ],
    ("--calibration",): [],
}
CHOSEN = st.lists(st.sampled_from(sorted(OUTPUTS)), unique=True, max_size=3)


@st.composite
def transcripts(draw):
    """The name and the bytes of a file: any bytes, lines of hostile texts, or a real file with accidents or packed."""
    name = draw(st.sampled_from(sorted(FILES)))
    kind = draw(st.integers(0, 7))
    data = FILES[name].encode()
    if kind == 0:
        data = draw(st.binary(max_size=200))
    elif kind == 1:
        lines = draw(st.lists(st.one_of(TEXTS, TEXTS.map(lambda t: f"{t} (a-1)"), TEXTS.map(lambda t: f"a {t}"))))
        data = encode(draw(LINE_ENDS).join(lines), draw(ENCODINGS))
    elif kind == 2:
        data = encode(FILES[name].replace("\n", draw(LINE_ENDS)), draw(ENCODINGS))
    elif kind <= 5:
        data = draw(damaged(data))
    if draw(st.integers(0, 5)) == 0:
        name, data = f"{name}.gz", gzip.compress(data, mtime=0)
        if draw(st.booleans()):
            data = draw(damaged(data, most=1))
    # a name that says nothing about the format
    return draw(st.sampled_from([name, name, "data"])), data


def check_outputs(run, chosen, *more):
    """The files that options ask for are all there, or none of them is."""
    names = [*more, *(name for option in chosen for name in OUTPUTS[option])]
    found = [name for name in names if Path(name).exists()]
    # some statuses come from what is counted, after the files are complete: --by without such a field
    assert found in ([], names), (str(run), found)
    assert run.status != 0 or found == names, (str(run), found)
    assert run.status not in (2, 3) or not found, (str(run), found)
    if "new.json" in found:
        result = json.loads(Path("new.json").read_text("utf-8"))
        assert {"utterances", "certificate"} <= set(result)
        assert ds2("score", "new.json", "--max-bad", 100).status in (0, 3)


@fuzz(transcripts(), transcripts(), st.sampled_from(FORMATS), st.tuples(*OPTIONS), CHOSEN, st.booleans(), st.booleans())
def test_hypotheses_and_references_in_any_format(hyp, ref, kind, options, chosen, with_ref, from_pipe):
    for folder, (name, data) in (("hyp", hyp), ("ref", ref)):
        Path(folder).mkdir()
        Path(folder, name).write_bytes(data)
    options = [word for option in (*options, *chosen) for word in option]
    reference = ("--ref", f"ref/{ref[0]}") if with_ref else ()
    source, stdin = ("-", hyp[1]) if from_pipe else (f"hyp/{hyp[0]}", b"")
    run = ds2("score", source, "out.jsonl", *reference, "--format", kind, *options, "--max-bad", 100, stdin=stdin)
    check_outputs(run, chosen, "out.jsonl")
    if run.status == 0:
        check_counts(run, "out.jsonl")


@fuzz(st.sampled_from(sorted(FILES)), st.data(), st.tuples(*OPTIONS), CHOSEN)
def test_damaged_hypotheses_of_sound_references(name, data, options, chosen):
    Path("ref").mkdir()
    ref = {"x.ctm": "ref/x.stm"}.get(name, "ref/x.jsonl")
    Path(ref).write_text(FILES[Path(ref).name])
    Path(name).write_bytes(data.draw(damaged(FILES[name].encode(), most=2)))
    options = [word for option in (*options, *chosen) for word in option]
    run = ds2("score", name, "out.jsonl", "--ref", ref, *options, "--max-bad", 100)
    check_outputs(run, chosen, "out.jsonl")
    if run.status == 0:
        check_counts(run, "out.jsonl")


@st.composite
def systems(draw, **fields):
    """The rows of two or three decodings of the same utterances: hostile ones, or plain ones with hostile words."""
    rows = draw(st.lists(ROWS, max_size=4))
    words = st.lists(
        st.fixed_dictionaries(
            {"word": st.sampled_from(["a", "b", "cat", "é", ""])},
            optional={
                name: st.one_of(st.floats(0, 1), st.sampled_from([0, 1, -1, 1e300, None, "x", float("nan"), True]))
                for name in ("start", "end", "conf")
            },
        ),
        max_size=4,
    )
    results = []
    for _ in range(draw(st.integers(2, 3))):
        own = []
        for row in rows:
            row, found = dict(row), draw(words)
            if draw(st.booleans()):
                row |= {"text": "a cat", "pred_words": found, "pred_text": " ".join(w["word"] for w in found).strip()}
            own.append(row)
        results.append([*own, *draw(st.lists(ROWS, max_size=1))])
    return results


def write_systems(results):
    """Write one manifest of each system, sorted and without rows that no command reads; return their names."""
    names = [f"{name}.jsonl" for name, _ in zip("abc", results, strict=False)]
    for name, rows in zip(names, results, strict=True):
        write_manifest([json.dumps(row) for row in rows], True, f"in.{name}")
        assert ds2("data", "sort", f"in.{name}", name, "--max-bad", 100).status == 0
    return names


@fuzz(
    systems(),
    st.lists(st.sampled_from([("--force",), ("--resample", "speaker"), ("--mode", "present"), ("--unit", "char")])),
    st.one_of(st.none(), transcripts()),
)
def test_comparisons(results, options, other):
    names = write_systems(results)
    if other is not None:
        Path("other").mkdir()
        names[-1] = f"other/{other[0]}"
        Path(names[-1]).write_bytes(other[1])
    Path(f"{names[0]}.config.toml").write_text('[made_by]\ncertificate = {normalizer_hash = "x", references = 1}\n')
    options = [word for option in options for word in option]
    run = ds2("score", "--compare", *names, "--json", "new.json", "--draws", 100, *options)
    assert Path("new.json").exists() == (run.status == 0), str(run)
    if run.status == 0:
        assert json.loads(Path("new.json").read_text("utf-8"))["files"] == names


@fuzz(systems(), st.sampled_from(["votes", "average", "maximum", "share"]), st.booleans(), st.booleans())
def test_votes(results, method, by_times, is_sorted):
    names = write_systems(results)
    if not is_sorted:
        names = [f"in.{name}" for name in names]
    options = ["--times"] if by_times else []
    run = ds2("rover", *names, "out.jsonl", "--method", method, *options, "--max-bad", 100)
    if is_sorted:
        total = len({row["id"] for name in names for row in rows_of(name)})
        check_counts(run, "out.jsonl", total if run.status == 0 else None)
    if run.status == 0:
        for row in rows_of("out.jsonl"):
            voted = row.get("pred_words")
            assert voted is None or " ".join(word["word"] for word in voted) == row["pred_text"]
            assert all(0 <= word.get("conf", 0) <= 1 for word in voted or ())


@fuzz(st.lists(st.tuples(UNICODE, UNICODE), min_size=1, max_size=4), st.sampled_from(["word", "char"]))
def test_what_is_written_as_trn_counts_the_same(pairs, unit):
    rows = [{"id": f"u-{i}", "text": ref, "pred_text": hyp} for i, (ref, hyp) in enumerate(pairs)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spaces = ["--no-char-spaces"] if unit == "char" else []
    first = ds2("score", "in.jsonl", "--unit", unit, "--trn", "new", *spaces)
    again = ds2("score", "new.hyp.trn", "--ref", "new.ref.trn", "--unit", "word")
    assert (first.status, again.status) == (0, 0), f"{first}\n{again}"
    assert first.stdout.split("\n")[0].replace("%CER", "%WER") == again.stdout.split("\n")[0], f"{first}\n{again}"
