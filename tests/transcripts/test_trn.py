"""Reading and writing trn."""

import io
import random

import pytest

from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.metrics.alignment import align_units
from ds2cli.stages.sclite import find_program, run_sclite
from ds2cli.transcripts import texts, trn


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "x.trn"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def written(*utterances, **options):
    f = io.StringIO()
    writer = trn.TrnWriter(f, **options)
    for id_, units in utterances:
        writer.write(id_, units)
    return f.getvalue()


def test_rows_are_sorted_and_comments_are_skipped(file):
    path = file(";; made by hand\n** info\n\nyes it is (b-2)\n  no   (b-1) \n(a-1)\n")
    assert list(trn.read(path)) == [
        {"id": "a-1", "text": ""},
        {"id": "b-1", "text": "no"},
        {"id": "b-2", "text": "yes it is"},
    ]
    assert next(trn.read(path, "pred_text")) == {"id": "a-1", "pred_text": ""}


def test_a_sorted_file_is_not_held_in_memory(file):
    path, ledger = file("a (s-1)\n?\nb (s-2)\nb (s-2)\nc (s-3)\n"), Ledger()
    rows = trn.read(path, "text", ledger)
    assert next(rows)["id"] == "s-1" and not ledger.rows
    assert [row["id"] for row in rows] == ["s-2", "s-3"]
    assert ledger.reasons == {"no-id": 1, "duplicate-id": 1}


def test_a_file_that_changes_while_it_is_read_is_refused(file, monkeypatch):
    monkeypatch.setattr(texts, "_is_sorted", lambda *_: True)
    with pytest.raises(DataError, match=r"x\.trn:2: id 's-1' comes after 's-2': the file has changed"):
        list(trn.read(file("a (s-2)\nb (s-1)\n")))


def test_the_id_is_in_the_last_parentheses(file):
    # what sclite takes of the same lines
    text = "i am a (farmer) (s-1)\nx(s-2)\ny (s-3) z\n"
    assert [(r["id"], r["text"]) for r in trn.read(file(text))] == [
        ("s-1", "i am a (farmer)"),
        ("s-2", "x"),
        ("s-3", "y"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no id here", "no-id"),
        (b"half (s-1", "no-id"),
        (b"swapped )s-1(", "no-id"),
        (b"x ()", "no-id"),
        (b"x (s 1)", "no-id"),
        (b"x (s\x011)", "no-id"),
        (b"caf\xe9 (s-1)", "not-utf8"),
        (b"again (ok)", "duplicate-id"),
    ],
)
def test_a_bad_line_is_counted_or_refused(file, line, reason):
    path = file(b"yes (ok)\n" + line + b"\n")
    ledger = Ledger()
    assert [row["id"] for row in trn.read(path, "text", ledger)] == ["ok"]
    assert ledger.reasons == {reason: 1} and f"{path}:2: " in ledger.rows[0]["detail"]
    with pytest.raises(DataError, match=r"x\.trn:2: "):
        list(trn.read(path))


def test_what_is_written_is_read_back(file):
    written_texts = ["", "a", "a;b ;; ;", "* ** a* a** *b", "(a) ( ) a(b", "a/b / }", "für 中文 é", "a@b", "x- -x"]
    text = written(*((f"s-{i}", t.split()) for i, t in enumerate(written_texts)))
    assert [row["text"] for row in trn.read(file(text))] == written_texts


def test_special_words_and_spaces_are_written_with_similar_signs():
    f = io.StringIO()
    writer = trn.TrnWriter(f)
    writer.write("s-1", ["{", "a\\b", "@", "a@b", "\0", "a b"])
    writer.write("s-2", ["a", " ", "b"])
    assert f.getvalue() == "｛ a＼b ＠ a@b ␀ a␣b (s-1)\na ␣ b (s-2)\n"
    assert writer.replaced == 6


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{ um / @ } a;b a*", "{ um / @ } a\\;b a**"),
        ("{um/{ a / b }} (uh) re-", "{um/{ a / b }} (uh) re-"),
        ("@ a", "@ a"),
        # sclite would skip the rest of the line, or crash
        ("a { b", "a ｛ b"),
        ("a{b / c}", "a｛b / c}"),
        ("{ / } @", "｛ / } ＠"),
        (f"{{ {'a ' * 500}}}", f"｛ {'a ' * 500}}}"),
    ],
)
def test_markup_of_references_can_be_kept(text, line):
    assert written(("s-1", text.split()), markup=True) == f"{line} (s-1)\n"
    assert "{" not in written(("s-1", text.split()))


@pytest.mark.long
def test_sclite_reads_all_markup_that_is_kept(tmp_path):
    if find_program("sclite") is None:
        pytest.skip("needs SCTK's sclite (utils/install_sctk.sh)")
    rng = random.Random(4)
    signs = ["{", "}", "/", "@", " { ", " / ", " } ", "a", "b ", " (", ")", "-", ";", "*", "\\", "é"]
    kept = 0
    with trn.open_trn(str(tmp_path / "x"), markup=True) as files:
        for i in range(3000):
            text = "".join(rng.choice(signs) for _ in range(rng.randint(1, 15)))
            kept += "{" in text and trn.has_readable_alternatives(" ".join(text.split()))
            files.add(f"s-{i}", text.split(), ["a", "b"])
    result = run_sclite(str(tmp_path), str(tmp_path / "x.ref.trn"), str(tmp_path / "x.hyp.trn"))
    assert result.sentences == 3000 and kept > 100
    # each hypothesis was read to its end
    assert result.counts.hits + result.counts.subs + result.counts.ins == 6000


def test_what_sclite_cannot_read_is_refused():
    assert written(("s-1", ["é" * 500])) == f"{'é' * 500} (s-1)\n"
    with pytest.raises(DataError, match="utterance 's-1' has a word of 501 characters"):
        written(("s-1", ["é" * 501]))
    with pytest.raises(DataError, match="id 'a\\(b\\)' cannot be written as trn"):
        written(("a(b)", ["x"]))


def test_both_files_are_written_or_neither(tmp_path):
    prefix = str(tmp_path / "out")
    with pytest.raises(DataError), trn.open_trn(prefix) as files:
        files.add("s-1", ["a"], ["b"])
        files.add("s-2", ["a"], ["b" * 1001])
    assert list(tmp_path.iterdir()) == []
    with trn.open_trn(prefix) as files:
        files.add("s-1", ["a"], ["@"])
        files.add("s-2", ["a"], None)
        assert files.describe_replaced().startswith("words with a backslash")
    assert (tmp_path / "out.ref.trn").read_text() == "a (s-1)\na (s-2)\n"
    assert (tmp_path / "out.hyp.trn").read_text() == "＠ (s-1)\n(s-2)\n"


@pytest.mark.long
def test_sclite_counts_the_words_that_were_written(tmp_path):
    if find_program("sclite") is None:
        pytest.skip("needs SCTK's sclite (utils/install_sctk.sh)")
    rng = random.Random(3)
    signs = [
        "{",
        "}",
        "/",
        "@",
        ";",
        "*",
        "\\",
        "(",
        ")",
        "-",
        '"',
        "&",
        "<",
        "<eps>",
        "#",
        ":",
        ",",
        "a",
        "b",
        "é",
        "中",
    ]
    words = [
        *signs,
        *("".join(rng.choice(signs) for _ in range(rng.randint(1, 3))) for _ in range(300)),
        "A",
        " ",
        "\0",
    ]
    pairs = []
    for _ in range(2000):
        ref = [rng.choice(words) for _ in range(rng.randint(0, 8))]
        hyp = [rng.choice(words) if rng.random() < 0.3 else word for word in ref if rng.random() < 0.9]
        pairs.append((ref, hyp))
    # words that sclite would take for the same one
    pairs += [
        ([a], [b]) for a, b in (("a;b", "a;c"), ("a*", "a"), ("a**", "a*"), ("a\\b", "ab"), ("@", "x"), ("{", "x"))
    ]
    with trn.open_trn(str(tmp_path / "x")) as files:
        for i, (ref, hyp) in enumerate(pairs):
            files.add(f"s-{i}", ref, hyp)
    result = run_sclite(str(tmp_path), str(tmp_path / "x.ref.trn"), str(tmp_path / "x.hyp.trn"))
    refs, hyps = zip(*pairs, strict=True)
    assert result.counts == align_units(refs, hyps, "sclite").total()
    assert result.sentences == len(pairs)
