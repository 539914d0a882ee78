"""The `ds2 data` stages give what plain versions give that hold all rows in memory, also where they use little memory.

Each is run with buffers of a few rows, so that runs, chunks and passes end anywhere.
"""

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ds2cli import manifest, manifest_lines
from ds2cli.config.data import SplitConfig, SubsetConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.stages import data_combine, data_overlap, data_sort, data_split, data_stats, data_subset
from tests.stages import data_reference

ROOT = Path(__file__).parents[2]
IDS = "ab é😀\uffff\U00010000Zz-"


@pytest.fixture(autouse=True)
def tiny_buffers(monkeypatch):
    monkeypatch.setattr(manifest_lines, "LITTLE", 0)
    monkeypatch.setattr(data_sort, "RUN", 200)
    monkeypatch.setattr(data_sort, "MOST_RUNS", 3)
    monkeypatch.setattr(data_split, "MAX_OPEN", 3)
    monkeypatch.setattr(data_stats, "BATCH", 7)


def make_rows(number, seed, ids=None):
    rng = random.Random(seed)
    names = ids or sorted({"".join(rng.choices(IDS.replace(" ", ""), k=6)) for _ in range(number)})
    for name in names:
        row = {"id": name, "audio_filepath": rng.choice(["a/b.wav", "../c.wav", "/abs/d.wav"])}
        if rng.random() < 0.9:
            row["duration"] = rng.choice([1, 2.5, round(rng.random() * 9, 3), rng.random()])
        if rng.random() < 0.9:
            row["text"] = " ".join(rng.choices(["yes", "no", "café", "😀", "a\u2028b", '"x"'], k=rng.randint(0, 3)))
        if rng.random() < 0.9:
            row["speaker"] = f"s{rng.randint(0, 9)}"
        yield row


def write_rows(path, rows, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + end for row in rows), "utf-8", newline="")
    return str(path)


def lines_of(path, rows):
    """The lines that `manifest.write` makes of rows."""
    manifest.write(str(path), rows)
    with path.open(encoding="utf-8", newline="\n") as f:
        return f.readlines()


@pytest.mark.parametrize("shape", ["shuffled", "sorted", "reversed", "repeated", "nearly sorted"])
@pytest.mark.parametrize("rows", [0, 1, 2, 300])
def test_sort_in_runs_is_a_sort(tmp_path, monkeypatch, shape, rows):
    monkeypatch.chdir(tmp_path)
    made, rng = list(make_rows(rows, 1)), random.Random(2)
    if shape == "shuffled":
        rng.shuffle(made)
    elif shape == "reversed":
        made.reverse()
    elif shape == "repeated":
        made = [{**row, "text": str(i)} for i, row in enumerate(rng.choices(made, k=2 * rows) if made else [])]
    elif shape == "nearly sorted":
        for _ in range(rows // 20):
            made.insert(rng.randrange(rows), made.pop(rng.randrange(rows)))
    path = write_rows(tmp_path / "in/a.jsonl", made, "\r\n")
    with Path(path).open("a", encoding="utf-8") as f:
        f.write('{"id":"zz","text":5}\nnot json\n')
    ledgers = Ledger(), Ledger()
    expected = lines_of(tmp_path / "o.jsonl", data_reference.sort("in/a.jsonl", ledgers[0]))
    assert [line.text for line in data_sort.sort("in/a.jsonl", "o.jsonl", ledgers[1])] == expected
    assert ledgers[1].rows == ledgers[0].rows and ledgers[1].reasons["not-json"] == 1


def test_sorted_input_is_one_run(tmp_path, monkeypatch):
    stored = []
    monkeypatch.setattr(
        data_sort._Runs, "_new_file", lambda self, new=data_sort._Runs._new_file: stored.append(1) or new(self)
    )
    path = write_rows(tmp_path / "a.jsonl", make_rows(300, 1))
    assert len(list(data_sort.sort(path, path, Ledger()))) > 250 and len(stored) == 1


def test_documents_are_sorted(tmp_path):
    rows = [{"id": "b", "text": "x"}, {"id": "a"}, {"id": "b"}, 5]
    for text in (
        json.dumps(rows),
        json.dumps(rows, indent=1),
        "\n\n" + json.dumps(rows, indent=4).replace("\n", "\r\n"),
    ):
        (tmp_path / "a.json").write_text(text, newline="")
        ledgers = Ledger(), Ledger()
        expected = list(data_reference.sort(str(tmp_path / "a.json"), ledgers[0]))
        found = [json.loads(line.text) for line in data_sort.sort(str(tmp_path / "a.json"), "-", ledgers[1])]
        assert (found, ledgers[1].rows) == (expected, ledgers[0].rows)
    (tmp_path / "a.json").write_text('[\n{"id": "a"},\n')
    with pytest.raises(DataError, match=r"a\.json:\d+: not JSON"):
        list(data_sort.sort(str(tmp_path / "a.json"), "-", Ledger()))


def test_a_line_that_is_longer_than_all_buffers(tmp_path):
    rows = [{"id": name, "text": name * 100_000} for name in "ba"]
    path = write_rows(tmp_path / "a.jsonl", rows)
    found = [json.loads(line.text) for line in data_sort.sort(path, path, Ledger())]
    assert found == rows[::-1]


@pytest.mark.parametrize("out", ["x.JOB.jsonl", "JOB/x.jsonl", "in/JOB.jsonl", "in/a/xJOB.jsonl.gz"])
@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("by", ["id", "duration", "speaker", "text"])
def test_parts_are_those_of_a_split_in_memory(tmp_path, monkeypatch, by, parts, out):
    monkeypatch.chdir(tmp_path)
    rows = [{**row, by: row.get(by) or f"{by} {i % 9}"} if by in ("speaker", "text") else row
            for i, row in enumerate(make_rows(200, parts))]  # fmt: skip
    write_rows(tmp_path / "in/a.jsonl", rows)
    config = SplitConfig(parts=parts, by=by)
    expected = []
    for job, part in enumerate(data_reference.split(config, list(manifest.read("in/a.jsonl"))), start=1):
        manifest.write(out.replace("JOB", str(job)), part)
        expected.append((tmp_path / out.replace("JOB", str(job))).read_bytes())
    lines = manifest_lines.read("in/a.jsonl", fields=data_split.fields_for(config))
    names = list(data_split.write("in/a.jsonl", out, data_split.plan(config, lines), parts))
    assert [(tmp_path / name).read_bytes() for name in names] == expected


def test_a_manifest_that_changes_while_it_is_split_is_an_error(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", make_rows(20, 1))
    for by in ("id", "duration"):
        config = SplitConfig(parts=2, by=by)
        parts = data_split.plan(config, manifest_lines.read(path))
        for changed in (parts[:-1], [*parts, 1]):
            with pytest.raises(DataError, match="its number of rows has changed while it was split"):
                list(data_split.write(path, str(tmp_path / "o.JOB.jsonl"), data_split.np.array(changed, "i4"), 2))


@pytest.mark.long
def test_many_parts_need_few_open_files(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", ({"id": f"{i:05}", "duration": 1.0} for i in range(900)))

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ds2cli", "data", *arguments],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    for by in ("id", "duration"):
        run("split", path, "o.JOB.jsonl", "--parts", "300", "--by", by)
        run("combine", *(f"o.{i}.jsonl" for i in range(1, 301)), "all.jsonl")
        merged = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
        assert [row["id"] for row in merged] == [f"{i:05}" for i in range(900)]


SELECTIONS = [{}, {"first": 3}, {"last": 5}, {"shortest": 9}, {"random": 11}, {"random": 999}, {"last": 0}]
CONDITIONS = [{}, {"speakers": "s1,s2,unknown"}, {"min_duration": 0.5, "max_duration": 4.0}, {"match": "é|no"}]


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_subsets_are_those_of_rows_in_memory(tmp_path, monkeypatch, selection, condition):
    monkeypatch.chdir(tmp_path)
    path = write_rows(tmp_path / "a.jsonl", [*make_rows(100, 3), {"id": "\U0010ffff", "text": 5}])
    config = SubsetConfig(**selection, **condition)
    ledgers = Ledger(), Ledger()
    rows = data_reference.subset(config, manifest.read(path, ledger=ledgers[0]), ledgers[0])
    expected = lines_of(tmp_path / "o.jsonl", rows)
    assert [line.text for line in data_subset.subset(config, path, "o.jsonl", ledgers[1])] == expected
    assert ledgers[0] == ledgers[1] and ledgers[0].bad == 1


@pytest.mark.parametrize("at_a_time", [2, 3, 100])
def test_manifests_in_several_folders_are_combined(tmp_path, monkeypatch, at_a_time):
    monkeypatch.setattr(data_combine, "MAX_OPEN", at_a_time)
    monkeypatch.chdir(tmp_path)
    rows = list(make_rows(200, 4))
    paths = [f"{folder}/a.jsonl" for folder in ("x", "x/y", "z", ".")]
    for k, path in enumerate(paths):
        # some rows are in several of them
        write_rows(tmp_path / path, [{**row, "part": k} for i, row in enumerate(rows) if i % 4 == k or i % 7 == 0])
    ledgers = Ledger(), Ledger()
    for out in ("o.jsonl", "x/o.jsonl", "x/y/z/o.jsonl"):
        (tmp_path / out).parent.mkdir(exist_ok=True)
        parts = [manifest.read(path, ledger=ledgers[0]) for path in paths]
        expected = lines_of(tmp_path / out, data_reference.combine(parts, ledgers[0]))
        parts = [manifest_lines.read(path, out, ledger=ledgers[1], chunk=100) for path in paths]
        assert [line.text for line in data_combine.combine(parts, ledgers[1])] == expected
    assert ledgers[0].rows == ledgers[1].rows and ledgers[0].bad > 50


@pytest.mark.parametrize("rows", [1, 2, 100, 1000])
def test_counts_are_those_of_rows_in_memory(tmp_path, rows):
    path = write_rows(tmp_path / "a.jsonl", make_rows(rows, 5))
    lines = manifest_lines.read(path, fields=data_stats.FIELDS)
    assert data_stats.stats(lines) == data_reference.stats(manifest.read(path))


@pytest.mark.parametrize("fields", [["text"], ["id", "audio_filepath", "speaker", "text"], ["duration", "nothing"]])
def test_overlaps_are_those_of_rows_in_memory(tmp_path, monkeypatch, fields):
    monkeypatch.chdir(tmp_path)
    rows = list(make_rows(300, 6))
    for k in range(3):
        write_rows(tmp_path / f"{k}.jsonl", [row for i, row in enumerate(rows) if i % 4 == k or i % 50 == 0])
    names = ["0.jsonl", "1.jsonl", "2.jsonl", "0.jsonl"]
    expected = list(data_reference.overlaps([(name, manifest.read(name)) for name in names], fields))

    def reader(name):
        return lambda: (line.values for line in manifest_lines.read(name, fields=fields))

    found = []
    for item in data_overlap.find_overlaps([(name, reader(name)) for name in names], fields, 1 << 20):
        if isinstance(item, data_overlap.Missing):
            found.append((item.field, item.manifest, item.rows, item.total))
        else:
            assert item.count == len(item.values)
            found.append((item.field, item.first, item.second, item.values, item.shared, item.total))
    assert found == expected


@pytest.mark.long
def test_a_killed_sort_leaves_nothing_that_looks_done(tmp_path):
    path = write_rows(
        tmp_path / "a.jsonl", ({"id": f"{(i * 7919) % 100003:06}", "text": "x" * 50} for i in range(100_000))
    )
    code = (
        "from ds2cli.stages import data_sort; data_sort.RUN = 1 << 16; data_sort.MOST_RUNS = 9\n"
        f"import sys; sys.argv = ['ds2', 'data', 'sort', {path!r}, {str(tmp_path / 'o.jsonl')!r}]\n"
        "from ds2cli.cli.main import main; main()"
    )
    (tmp_path / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    running = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.DEVNULL)
    while running.poll() is None and len(list((tmp_path / "tmp").glob("ds2-sort-*/*"))) < 5:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -9
    assert not (tmp_path / "o.jsonl").exists()
    # the next run removes what was left
    subprocess.run([sys.executable, "-c", code], env=env, check=True, stderr=subprocess.DEVNULL)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 100_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "o.jsonl", "o.jsonl.config.toml", "tmp"]
