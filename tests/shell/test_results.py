"""utils/results.py on a small checkout of its own: figures that differ are found, and replaced on demand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ds2cli.archive import read_matrix
from ds2cli.errors import UsageError

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "v0.1"
TABLES = r"""
prepare = ["cp {egs}/dev.jsonl texts.jsonl"]
[texts]
dev = "texts.jsonl"
[commands]
weight = "sed -n 's/^alpha = //p' {exp}/decode.toml"
words = 'grep -o {word} {exp}/{part}.jsonl | wc -l'
rate = "ds2 decode {exp} {exp}/{part}.jsonl {out}/x.jsonl --greedy; ds2 score {out}/x.jsonl"
[columns.few]
"alpha" = { command = "weight", find = '(\S+)', cell = "{:.1f}" }
"dev" = { command = "words", part = "dev", find = '(\d+)', cell = "{} rows" }
[columns.rates]
"dev WER" = { command = "rate", part = "dev", find = '^%WER (\S+)' }
"""
COMMANDS = '<!-- results: command `make bench SIZE="1 2"`, `ds2 data stats x.jsonl` -->\n'
RESULTS = """# Results

<!-- results: stored few
seed 0 = a word=text
seed 1 = b
all = mean of seed
-->

| run | alpha (nats) | dev | not computed |
|:--|--:|--:|--:|
| seed 0 | **0.5** | 4 rows | 7 |
| **seed 1** | 2.5 | | 8 |
| all | | | |

```
| not | a table |
|---|---|
```

COMMANDS| a |
|---|
| 1 |
""".replace("COMMANDS", COMMANDS)


def read_rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "utils"))
    import results

    return results


@pytest.fixture
def checkout(tmp_path, results):
    """A checkout with one recipe, whose experiment of version 0.1 is stored as `a`, and as `b` with another weight."""
    root = tmp_path / "checkout"
    egs = root / "egs" / "tiny"
    exp = Path(shutil.copytree(GOLDEN / "exp", egs / "exp" / "first"))
    shutil.copytree(GOLDEN / "emissions", exp / "emissions")
    shutil.copy(GOLDEN / "dev.emit.jsonl", exp)
    shutil.copy(GOLDEN / "dev.jsonl", egs)
    (egs / "results").mkdir()
    (egs / "results" / "tables.toml").write_text(TABLES)
    (root / "Makefile").write_text("bench:\n")
    for name, alpha in (("a", "0.54"), ("b", "2.5")):
        (exp / "decode.toml").write_text(f"alpha = {alpha}\n")
        results.store(root, exp, name, compress=name == "b")
    (egs / "RESULTS.md").write_text(RESULTS)
    return root


def test_emissions_are_stored_without_texts(checkout):
    emitted = read_rows(GOLDEN / "dev.emit.jsonl")
    for name, tolerance in (("a", 0), ("b", 1e-3)):
        folder = checkout / "egs" / "tiny" / "results" / name
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.toml", "decode.toml", "dev.ark", "dev.jsonl", "tokens.txt"
        ]  # fmt: skip
        rows = read_rows(folder / "dev.jsonl")
        assert [row["id"] for row in rows] == [row["id"] for row in emitted]
        for row, original in zip(rows, emitted, strict=True):
            assert row.keys() == {"id", "emission", "num_steps", "step_s"} and row["emission"].startswith("dev.ark:")
            matrix = read_matrix(f"{folder}/{row['emission']}", row["id"])
            expected = read_matrix(f"{GOLDEN}/{original['emission']}", row["id"])
            assert np.abs(matrix - expected).max() <= tolerance


def test_figures_that_differ_are_found_and_replaced(checkout, results, capsys):
    """The mean is that of the rows as they are computed; a cell without a variable stays."""
    file = checkout / "egs" / "tiny" / "RESULTS.md"
    assert results.recompute(checkout, [file]) == 1
    (mean, count) = capsys.readouterr().out.splitlines()
    assert mean.startswith("egs/tiny/RESULTS.md:13: all: alpha (nats): written nothing, computed 1.5 (0.5-2.5)")
    assert count == "results: 4 figures of 1 tables recomputed, 1 differ"

    wrong = RESULTS.replace("**0.5**", "**0.6**").replace("4 rows", "5 rows")
    file.write_text(wrong)
    assert results.recompute(checkout, [file]) == 3
    found = capsys.readouterr().out
    assert "RESULTS.md:11: seed 0: alpha (nats): written 0.6, computed 0.5 by: sed" in found
    assert "RESULTS.md:11: seed 0: dev: written 5 rows, computed 4 rows by: grep" in found
    assert file.read_text() == wrong

    results.recompute(checkout, [file], write=True)
    assert file.read_text() == RESULTS.replace("| all | | | |", "| all | 1.5 (0.5-2.5) | | |")
    assert results.recompute(checkout, [file]) == 0


def test_a_mean_is_that_of_all_rows(checkout, results):
    file = checkout / "egs" / "tiny" / "RESULTS.md"
    file.write_text(RESULTS.replace("| all |", "| seed 2 | 1 | | |\n| all |"))
    with pytest.raises(UsageError, match=r"RESULTS.md:14: this is the mean of seed 2, which is not computed"):
        results.recompute(checkout, [file])
    file.write_text(RESULTS.replace("mean of seed", "mean of runs"))
    with pytest.raises(UsageError, match=r"RESULTS.md:13: this is the mean of no row"):
        results.recompute(checkout, [file])


@pytest.mark.long
def test_the_rate_is_that_of_the_decoder(checkout, results):
    """By construction: of five words, "bb c" is recognized as "bbc", which is two errors."""
    pairs = [(row["text"], row["pred_text"]) for row in read_rows(GOLDEN / "dev.greedy.jsonl")]
    assert [pair for pair in pairs if pair[0] != pair[1]] == [("bb c", "bbc")] and len(pairs) == 4
    file = checkout / "egs" / "tiny" / "RESULTS.md"
    table = "<!-- results: stored rates\nx = a\ny = b\n-->\n| | dev WER |\n|--|--|\n| x | {} |\n| y | {} |\n"
    file.write_text(table.format("40.00", "20.00"))
    assert results.recompute(checkout, [file], nj=2) == 1


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (COMMANDS, "", "RESULTS.md:20: it is not"),
        ("make bench", "make bank", "no such command: make bank"),
        ("ds2 data stats", "ds2 data statistics", "no such command: ds2 data statistics"),
        ("`ds2 data stats x.jsonl`", "`python tools/missing.py`", "no such command: python tools/missing.py"),
        ("results: command", "results: commands", "not a comment of a table"),
        (COMMANDS, "<!-- results: history -->\n", "say of which version"),
        ("word=text\n", "word=text\nall = c\n", "expected COLUMNS, and each ROW"),
        ("seed 0 = a", "seed 0 = c", "no stored c (utils/results.py store EXP c)"),
        ("seed 1 = b", "seed 2 = b", "0 rows begin with 'seed 2', expected one"),
        ("seed 1 = b\n", "", "results/b: no table uses it"),
        ("word=text", "word=text part=dev wrod=x", "no command uses wrod"),
        ("| alpha (nats) |", "| beta |", "0 columns are named 'alpha', expected one"),
        ("stored few", "stored many", "no [columns.many]"),
        ("seed 1 = b", "seed 1 is b", "expected COLUMNS"),
    ],
)  # fmt: skip
def test_a_wrong_origin_is_refused(checkout, results, old, new, fault):
    file = checkout / "egs" / "tiny" / "RESULTS.md"
    tables, faults = results.check(checkout, [file])
    assert len(tables) == 2 and not faults
    assert RESULTS.count(old) == 1
    file.write_text(RESULTS.replace(old, new))
    try:
        _, faults = results.check(checkout, [file])
    except UsageError as e:  # a comment that cannot be read
        faults = [str(e)]
    assert any(fault in found for found in faults)


@pytest.mark.parametrize("origin", ["history: version 0.1", "description", "command `ds2 score`\n  (of stage 8)"])
def test_other_origins(checkout, results, origin):
    """Also the table that a command has written between its comments; blank lines may come before a table."""
    file = checkout / "egs" / "tiny" / "RESULTS.md"
    generated = "<!-- make bench: ctc -->\nOn a GPU:\n\n| a |\n|:-:|\n<!-- end -->\n"
    file.write_text(RESULTS.replace(COMMANDS, f"<!-- results: {origin} -->\n\n") + generated)
    tables, faults = results.check(checkout, [file])
    assert len(tables) == 3 and not faults
    file.write_text(file.read_text() + "\n| a |\n|---|\n| the end |")
    assert len(results.check(checkout, [file])[1]) == 1


def test_figures_are_skipped_where_their_data_are_missing(checkout, results, capsys):
    tables = checkout / "egs" / "tiny" / "results" / "tables.toml"
    tables.write_text('needs = ["{shared}/none/dev.jsonl"]\n' + TABLES)
    assert results.recompute(checkout, [checkout / "egs" / "tiny" / "RESULTS.md"]) == 0
    printed = capsys.readouterr()
    assert "egs/tiny: 5 figures not recomputed: there is no " in printed.err
    assert "results: 0 figures of 0 tables recomputed, 0 differ" in printed.out


def test_a_text_that_is_missing_is_refused(checkout, results):
    file = checkout / "egs" / "tiny" / "dev.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UsageError, match="dev-03 is not in"):
        results.recompute(checkout, [checkout / "egs" / "tiny" / "RESULTS.md"])


def test_only_experiments_of_a_recipe_can_be_stored(checkout, results, tmp_path):
    with pytest.raises(UsageError, match="expected egs/CORPUS/exp/NAME"):
        results.store(checkout, tmp_path, "c")
    (checkout / "egs" / "tiny" / "exp" / "first" / "dev.emit.jsonl").unlink()
    with pytest.raises(UsageError, match=r"no dev\.emit\.jsonl"):
        results.store(checkout, checkout / "egs" / "tiny" / "exp" / "first", "c")
