import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.journal import Block, Entry, Recorder, Replay, open_journal, replay_drops

ROOT = Path(__file__).parents[1]


class StopError(Exception):
    """Ends a run."""


def blocks_of(rows, size=2):
    for start in range(0, len(rows), size):
        yield Block(rows[start : start + size], rows[start : start + size])


def ids(text):
    return [{"id": letter} for letter in text]


def run(folder, rows, stop_after=None, identity=None, is_intact=lambda entry: True, drop="", fields=()):
    """Write the rows in capitals; returns ids, dropped ids, and which were taken from the journal."""
    ledger, taken, found = Ledger(), [], []

    def work(chunks):
        for chunk in chunks:
            for row in chunk:
                if row["id"] in drop:
                    ledger.drop_error(row["id"], BadUtterance("bad", "é"))
                else:
                    yield {**row, "text": row["id"].upper()}

    with open_journal(str(folder / "x"), "test", identity or {}) as journal:
        replay = Replay(journal, blocks_of(list(ledger.follow(rows, lambda row: row["id"]))), fields, is_intact)
        for block, entry in replay:
            taken += [row["id"] for row in block.rows]
            found += replay_drops(entry, ledger)
        recorder = Recorder(journal.append, ledger)
        for row in recorder.write(work(recorder.read(replay.rest))):
            found.append(row)
            if row["id"] == stop_after:
                raise StopError
    ledger.sort()
    assert all(row["text"] == row["id"].upper() for row in found)
    return "".join(row["id"] for row in found), "".join(row["id"] for row in ledger.rows), "".join(taken)


def stopped(folder, rows, stop_after, **options):
    with pytest.raises(StopError):
        run(folder, rows, stop_after, **options)
    return folder / ".x.test.unfinished"


def test_finished_blocks_are_taken_from_the_journal_and_it_is_removed_at_the_end(tmp_path):
    folder = stopped(tmp_path, ids("abcdefg"), "e")
    assert {path.name for path in folder.iterdir()} == {"about.json", "journal.jsonl"}
    assert run(tmp_path, ids("abcdefg")) == ("abcdefg", "", "abcd")
    assert not list(tmp_path.iterdir())
    assert run(tmp_path, ids("abc")) == ("abc", "", "")


def test_drops_are_replayed_in_the_order_of_the_input(tmp_path):
    whole = run(tmp_path, ids("abcdefg"), drop="bdcg")
    stopped(tmp_path, ids("abcdefg"), "e", drop="bdcg")
    assert run(tmp_path, ids("abcdefg"), drop="bdcg") == (*whole[:2], "abcd") == ("aef", "bcdg", "abcd")


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        (ids("abcdefghi"), "abcd"),
        (ids("abcdx"), "abcd"),
        (ids("abxdefgh"), "ab"),
        (ids("abc"), "ab"),
        ([{"id": "a", "text": "x"}, *ids("bcdef")], ""),
        ([], ""),
    ],
)
def test_blocks_are_computed_again_from_the_first_difference_on(tmp_path, rows, taken):
    stopped(tmp_path, ids("abcdefgh"), "e")
    expected = "".join(row["id"] for row in rows)
    assert run(tmp_path, rows) == (expected, "", taken)


def test_another_identity_begins_from_nothing(tmp_path):
    folder = stopped(tmp_path, ids("abcdef"), "e", identity={"setting": 1})
    (folder / "1.part").write_text("old")
    stopped(tmp_path, ids("abcdef"), "e", identity={"setting": 2})
    assert not (folder / "1.part").exists()
    assert run(tmp_path, ids("abcdef"), identity={"setting": 2})[2] == "abcd"


def test_a_changed_file_that_a_row_refers_to_is_noticed(tmp_path):
    rows = [{"id": i, "audio_filepath": str(tmp_path / f"{i}.wav"), "feats": f"{tmp_path}/f.ark:9"} for i in "abcdef"]
    for name in ("a.wav", "b.wav", "c.wav", "f.ark"):
        (tmp_path / name).write_text("x")
    cases = ((("feats",), "c.wav", "abcd"), (("audio_filepath",), "c.wav", "ab"), (("feats",), "f.ark", ""))
    for fields, change, taken in cases:
        (tmp_path / change).write_text("x")
        stopped(tmp_path, rows, "e", fields=fields)
        (tmp_path / change).write_text("longer")
        assert run(tmp_path, rows, fields=fields)[2] == taken, change


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_an_incomplete_last_line_is_cut_off(tmp_path, cut):
    journal = stopped(tmp_path, ids("abcdefg"), "g") / "journal.jsonl"
    data = journal.read_bytes()
    last = data.splitlines(keepends=True)[-1]
    journal.write_bytes(data[:-cut])
    stopped(tmp_path, ids("abcdefg"), "g")
    assert journal.read_bytes() == data and json.loads(last)["outcomes"][0]["id"] == "e"
    # zeros, as after a power cut
    journal.write_bytes(data[: -len(last)] + bytes(len(last)))
    assert run(tmp_path, ids("abcdefg"))[2] == "abcd"


def test_what_an_entry_refers_to_must_be_there(tmp_path):
    stopped(tmp_path, ids("abcdefgh"), "g")
    taken = run(tmp_path, ids("abcdefgh"), is_intact=lambda entry: entry.outcomes[0]["id"] != "c")[2]
    assert taken == "ab"


def test_a_run_that_is_stopped_before_anything_new_is_finished_keeps_what_there_was(tmp_path):
    folder = stopped(tmp_path, ids("abcdefgh"), "e")
    with pytest.raises(StopError), open_journal(str(tmp_path / "x"), "test", {}):
        raise StopError
    assert folder.exists()
    assert run(tmp_path, ids("abcdefgh"))[2] == "abcd"


def test_a_run_without_a_finished_block_leaves_nothing(tmp_path):
    place = tmp_path / "new"
    with pytest.raises(StopError), open_journal(str(place / "x"), "test", {}):
        assert place.is_dir()
        raise StopError
    assert not place.exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    folder = stopped(tmp_path, ids("abcdefgh"), "e")
    with (
        open_journal(str(tmp_path / "x"), "test", {}) as first,
        open_journal(str(tmp_path / "x"), "test", {}) as second,
    ):
        assert first is not None and second is None
    assert not folder.exists()


def test_the_folder_of_a_killed_process_can_be_used(tmp_path):
    code = (
        "import os\nfrom ds2cli.journal import open_journal, Block, Entry\n"
        f"with open_journal({str(tmp_path / 'x')!r}, 'test', {{}}) as journal:\n"
        "    journal.append(Block([], None, 'k'), Entry())\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -9 and (tmp_path / ".x.test.unfinished").is_dir()
    assert run(tmp_path, ids("ab")) == ("ab", "", "")


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with open_journal(str(tmp_path / "file" / "x"), "test", {}) as journal:
        assert journal is None


def test_status_finds_what_belongs_to_an_output(tmp_path):
    options = {"out": str(tmp_path / "out.jsonl"), "command": "ds2 test"}
    with pytest.raises(StopError), open_journal(str(tmp_path / "feats/x"), "test", {}, **options) as journal:
        journal.append(Block([], None), Entry([{"id": "a"}]))
        raise StopError
    about = json.loads((tmp_path / "feats/.x.test.unfinished/about.json").read_text())
    assert about == {"stage": "test", "out": "../out.jsonl", "command": "ds2 test"}


def test_rows_and_numbers_are_kept_exactly(tmp_path):
    row = {"id": "é", "x": 0.1 + 0.2, "y": [1e-300, -0.0], "z": "\ud800", "n": None, "a": {"b": True}}
    with pytest.raises(StopError), open_journal(str(tmp_path / "x"), "test", {}) as journal:
        journal.append(next(Replay(journal, blocks_of([row]), ()).rest), Entry([row], {"sum": [2.0**-1074]}))
        raise StopError
    with open_journal(str(tmp_path / "x"), "test", {}) as journal:
        ((_, entry),) = Replay(journal, blocks_of([row]), ())
    assert repr(entry) == repr(Entry([row], {"sum": [2.0**-1074]}))
