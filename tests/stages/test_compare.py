"""`ds2 score --compare`: joining results, what is refused, and the whole command."""

from __future__ import annotations

import json

import pytest

from ds2cli.cli.lib.compare import compare
from ds2cli.config.score import ScoreConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.metrics.normalizers import create_normalizer
from ds2cli.stages import compare as stage

ROWS = [(f"u{i:02d}", "a b c d", f"s{i % 3}") for i in range(30)]


def rows(hyp, skip=(), **fields):
    """30 rows whose hypothesis is `hyp`, or what it returns for the number of the row; None for no hypothesis."""
    made = []
    for i, (id_, text, speaker) in enumerate(ROWS):
        pred = hyp(i) if callable(hyp) else hyp
        row = {"id": id_, "text": text, "speaker": speaker, **fields}
        made.append(row if pred is None else {**row, "pred_text": pred})
    return [row for i, row in enumerate(made) if i not in skip]


def write(path, made):
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return str(path)


def join(*systems, **settings):
    differing = stage.Differing([0] * len(systems))
    names = [f"{letter}.jsonl" for letter in "ABC"[: len(systems)]]
    return list(stage.join_systems(ScoreConfig(**settings), systems, names, differing)), differing


def test_rows_are_joined_by_id():
    joined, differing = join(rows("a"), rows("b"), rows("c"))
    assert [u.id for u in joined] == [id_ for id_, _, _ in ROWS]
    assert {tuple(u.hyps) for u in joined} == {("a", "b", "c")} and {u.ref for u in joined} == {"a b c d"}
    assert joined[4].group == "s1" and differing == stage.Differing([0, 0, 0])


def test_joining_is_a_stream():
    def endless(letter):
        for i in range(10**9):
            yield {"id": f"u{i:09d}", "text": "a", "pred_text": letter}

    joined = stage.join_systems(ScoreConfig(), [endless("a"), endless("b")], ["A", "B"], stage.Differing([0, 0]))
    assert [next(joined).hyps for _ in range(3)] == [["a", "b"]] * 3


def test_missing_utterances_follow_the_mode():
    systems = rows(lambda i: None if i in (0, 5) else "a"), rows(lambda i: None if i in (7, 29) else "b")
    joined, differing = join(*systems)
    assert len(joined) == 30 and joined[0].hyps == [None, "b"] and joined[7].hyps == ["a", None]
    assert differing.missing == [2, 2] and differing.left_out == 0
    joined, differing = join(*systems, mode="present")
    assert len(joined) == 26 and differing.left_out == 4
    with pytest.raises(DataError, match=r"'u00' has no pred_text in A.jsonl, which --mode strict refuses"):
        join(*systems, mode="strict")


@pytest.mark.parametrize("mode", ["all", "strict"])
def test_a_part_of_a_test_set_is_refused(mode):
    systems = rows("a", skip=range(10, 30)), rows("b")
    with pytest.raises(DataError, match=r"^utterance 'u10' of B.jsonl is not in A.jsonl: .*--mode present.*--ref FILE"):
        join(*systems, mode=mode)
    with pytest.raises(DataError, match=r"^utterance 'u10' of A.jsonl is not in B.jsonl: "):
        join(systems[1], systems[0], systems[1], mode=mode)
    joined, differing = join(*systems, mode="present")
    assert len(joined) == 10 and differing.left_out == 20
    joined, differing = join(*systems, force=True)
    assert len(joined) == 30 and differing.missing == [20, 0]


def test_different_references_are_refused():
    other = rows("b")
    other[3] = {**other[3], "text": "a b c"}
    with pytest.raises(DataError, match=r"'u03' has different references: 'a b c d' in A.jsonl, 'a b c' in B.jsonl"):
        join(rows("a"), other)
    joined, differing = join(rows("a"), other, force=True)
    assert joined[3].ref == "a b c d" and (differing.references, differing.first) == (1, "u03")
    # only spaces differ
    joined, _ = join(rows("a"), rows("b", text="a  b c d "))
    assert len(joined) == 30


def test_resampling_needs_the_field():
    without = [{k: v for k, v in row.items() if k != "speaker"} for row in rows("a")]
    joined, _ = join(without, rows("b"))
    assert joined[0].group == "s0"
    joined, _ = join(without, without)
    assert joined[0].group is None
    with pytest.raises(DataError, match=r"'u00' has no field 'session', which --resample session needs"):
        join(rows("a"), rows("b"), resample="session")
    joined, _ = join(rows("a", session=7), rows("b"), resample="session")
    assert joined[0].group == "7"


def run(tmp_path, capsys, *systems, **settings):
    paths = [write(tmp_path / f"{letter}.jsonl", made) for letter, made in zip("ABC", systems, strict=False)]
    compare(ScoreConfig(compare=True, draws=500, **settings), paths)
    return capsys.readouterr()


def test_the_command(tmp_path, capsys):
    out = tmp_path / "out.json"
    systems = rows(lambda i: "a b c x" if i % 2 else "a b c d"), rows("a b c d")
    shown = run(tmp_path, capsys, *systems, json=str(out))
    assert "B.jsonl against A.jsonl: 12.50 points lower (100.0 % relative)" in shown.out.splitlines()
    assert "The difference is real: B.jsonl makes fewer errors than A.jsonl (exact MAPSSWE, p < 0.001)." in shown.out
    assert "Small test set: " in shown.out
    fields = json.loads(out.read_text())
    assert fields["files"] == [str(tmp_path / "A.jsonl"), str(tmp_path / "B.jsonl")]
    assert [s["name"] for s in fields["systems"]] == ["A.jsonl", "B.jsonl"]
    assert fields["pairs"][0]["verdict"] == "real"
    certificate = fields["certificate"]
    assert certificate["normalizer"] == "none" and len(set(certificate["hypotheses"])) == 2
    assert len(certificate["references"]) == 64 and certificate["command"]


def test_three_systems_and_characters(tmp_path, capsys):
    shown = run(tmp_path, capsys, rows("a b c x"), rows("a b c d"), rows(""), unit="char", resample="speaker")
    assert "%CER" in shown.out and "C.jsonl against A.jsonl" in shown.out
    assert "All pairs by MAPSSWE" in shown.out and "No conclusion: a test set of 3 speakers" in shown.out


def test_the_normalizer_is_applied(tmp_path, capsys):
    systems = rows("A, B c d!", text="A b c D."), rows("a b c d")
    with pytest.raises(DataError, match="'u00' has different references"):
        run(tmp_path, capsys, *systems)
    shown = run(tmp_path, capsys, *systems, normalizer="basic")
    assert "No difference: " in shown.out


def test_warnings(tmp_path, capsys):
    hyps = rows(lambda i: None if i < 2 else "a b c d"), rows(lambda i: None if i == 5 else "a b c x")
    shown = run(tmp_path, capsys, *hyps)
    assert f"warning: {tmp_path / 'A.jsonl'}: utterances without pred_text: 2: all their words count as d" in shown.err
    assert f"warning: {tmp_path / 'B.jsonl'}: utterances without pred_text: 1" in shown.err
    shown = run(tmp_path, capsys, *hyps, mode="present")
    assert "warning: utterances without pred_text in at least one system: 3: left out" in shown.err
    assert shown.out.startswith("27 utterances, 108 words")
    shown = run(tmp_path, capsys, rows("a"), rows("b", text="a b c"), force=True)
    assert "utterances with different references: 30, such as u00: all systems are scored against the ref" in shown.err


def test_what_cannot_be_compared(tmp_path, capsys):
    with pytest.raises(UsageError, match="expected the results of two or more systems, got 1"):
        run(tmp_path, capsys, rows("a"))
    with pytest.raises(UsageError, match="A is given twice"):
        compare(ScoreConfig(), ["A", "A"])
    with pytest.raises(UsageError, match="only one of the results and --ref"):
        compare(ScoreConfig(ref="-"), ["-", "A"])
    with pytest.raises(DataError, match=r"B.jsonl: no utterance has pred_text: expected the rows of ds2 decode"):
        run(tmp_path, capsys, rows("a"), rows(None))
    with pytest.raises(DataError, match="no utterances to compare: all 30 lack a hypothesis"):
        run(tmp_path, capsys, rows("a"), rows(None), mode="present")
    with pytest.raises(DataError, match=r"no utterances to compare$"):
        run(tmp_path, capsys, [], [])


def certify(tmp_path, letter, **fields):
    """A score in JSON beside a result, as `ds2 score --json` writes it."""
    certificate = {"references": "r1", "utterances": 30, "normalizer": "none", "normalizer_hash": "n1", **fields}
    text = '{"utterances":[\n{"id":"u00"}\n],\n"certificate":' + json.dumps(certificate) + ',\n"words":{}\n}\n'
    (tmp_path / f"{letter}.jsonl.score.json").write_text(text)


def test_scores_of_other_normalizers_are_refused(tmp_path, capsys):
    systems = rows("a b c x"), rows("a b c d")
    run(tmp_path, capsys, *systems)
    certify(tmp_path, "A")
    run(tmp_path, capsys, *systems)
    certify(tmp_path, "B")
    run(tmp_path, capsys, *systems)
    basic = create_normalizer("basic")
    certify(tmp_path, "B", normalizer=basic.description, normalizer_hash=basic.identity)
    with pytest.raises(DataError, match=r"A.jsonl and .*B.jsonl were scored with different normalizers, none and basi"):
        run(tmp_path, capsys, *systems)
    # without a certificate a result is as it was decoded
    (tmp_path / "A.jsonl.score.json").unlink()
    with pytest.raises(DataError, match=r"none and basic \(.*: --normalizer basic normalizes both \(--force"):
        run(tmp_path, capsys, *systems)
    assert "against" in run(tmp_path, capsys, *systems, force=True).out
    assert "against" in run(tmp_path, capsys, *systems, normalizer="basic").out
    with pytest.raises(DataError, match=r"none and basic \(.*: score both with one --normalizer \(--force"):
        run(tmp_path, capsys, *systems, normalizer="english")
    certify(tmp_path, "A", normalizer="whisper (1)", normalizer_hash="n2")
    with pytest.raises(DataError, match=r"whisper \(1\) and basic \(.*: score both with one --normalizer"):
        run(tmp_path, capsys, *systems)


def test_scores_of_other_references_are_refused(tmp_path, capsys):
    systems = rows("a b c x"), rows("a b c d", skip=(7,))
    with pytest.raises(DataError, match=r"utterance 'u07' of .*A.jsonl is not in .*B.jsonl"):
        run(tmp_path, capsys, *systems)
    assert run(tmp_path, capsys, *systems, mode="present").out.startswith("29 utterances")
    assert run(tmp_path, capsys, *systems, force=True).out.startswith("30 utterances")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "\0", '{"utterances":[\n]}', '{"utterances":[\n],\n"certificate":{\n', "certificate"],
)
def test_other_files_have_no_certificate(tmp_path, text):
    (tmp_path / "A.jsonl.score.json").write_text(text)
    assert stage.read_certificate(str(tmp_path / "A.jsonl")) is None
    (tmp_path / "A.jsonl").write_text(text)
    (tmp_path / "A.jsonl.config.toml").write_text(text)
    assert stage.read_certificate(str(tmp_path / "A.jsonl")) is None
    assert stage.read_certificate("-") is stage.read_certificate("a\0b") is None


def test_a_certificate_in_the_settings_of_a_scored_manifest(tmp_path):
    (tmp_path / "A.jsonl.config.toml").write_text('unit = "word"\n[made_by.certificate]\nreferences = "r1"\n')
    assert stage.read_certificate(str(tmp_path / "A.jsonl")) == {"references": "r1"}


def test_scores_in_json_are_results(tmp_path, capsys):
    paths = []
    for letter, normalizer, made in (("A", "n1", rows("a b c x")), ("B", "n2", rows("a b c d"))):
        utterances = ",\n".join(map(json.dumps, made))
        certificate = json.dumps({"normalizer": letter, "normalizer_hash": normalizer})
        (tmp_path / letter).write_text(f'{{"utterances":[\n{utterances}\n],\n"certificate":{certificate}\n}}\n')
        paths.append(str(tmp_path / letter))
    with pytest.raises(DataError, match="were scored with different normalizers, A and B"):
        compare(ScoreConfig(), paths)
    compare(ScoreConfig(draws=100, force=True), paths)
    assert "B against A: 25.00 points lower" in capsys.readouterr().out


def test_references_of_their_own(tmp_path, capsys):
    refs = write(tmp_path / "refs.jsonl", [{"id": id_, "text": text} for id_, text, _ in ROWS])
    hyps = [{"id": id_, "pred_text": "a b c d"} for id_, _, _ in ROWS]
    shown = run(tmp_path, capsys, hyps, hyps[:20], ref=refs)
    assert "B.jsonl against A.jsonl: 33.33 points higher" in shown.out
    assert ": utterances without pred_text: 10: " in shown.err
