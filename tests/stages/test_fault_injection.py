"""Faults of 39 kinds are planted in a corpus of real recordings: each is found and named, and no healthy row is.

`ds2 data fix` loses no healthy row, and what it keeps and drops adds up.
"""

import json
from collections import Counter, defaultdict

import pytest
from planted_faults import PLANTS, SYMBOLS, make_manifest

from ds2cli.checks.faults import KINDS

CHECKS = ("--train-config", "train.toml", "--vocab", "tokens.txt")
REPAIRED = {
    *("not-json", "not-utf8", "wrong-type", "bad-id", "bad-duration", "bad-offset", "not-sorted", "duplicate-id"),
    *("control-character", "invisible-character", "unicode-form", "text-form", "digits", "missing-audio", "empty-file"),
    *("truncated-audio", "not-audio", "wrong-duration", "bad-segment", "wrong-rate", "no-such-channel", "not-a-number"),
    *("stale-archive", "wrong-num-frames", "missing-archive"),
}
"""Kinds that are repaired, or whose rows are dropped; the others are for a person to decide."""


def find_faults(ds2, path, *options):
    """The kinds of faults by line, and the result of the command."""
    done = ds2("data", "validate", path.name, *CHECKS, "--json", *options, cwd=path.parent)
    found = defaultdict(set)
    for line in done.stdout.splitlines():
        fault = json.loads(line)
        assert fault["path"] == path.name
        found[fault["line"]].add(fault["kind"])
    return found, done


def check_every_fault(ds2, jsonl, folder, source, number, each, nj):
    path, expected = make_manifest(source, folder, number, each)
    planted = Counter(kind for kinds in expected.values() for kind in kinds)
    assert len(PLANTS) >= 12 and set(PLANTS) <= set(KINDS) and all(planted[kind] >= each for kind in PLANTS)
    found, done = find_faults(ds2, path, "--nj", str(nj))
    assert done.returncode == 3, done.stderr
    wrong = {
        line: (kinds, found.get(line, set())) for line, kinds in expected.items() if found.get(line, set()) != kinds
    }
    assert wrong == {} and found.keys() <= expected.keys()
    # the table and the last line count the same faults
    table = ds2("data", "validate", path.name, *CHECKS, "--most", "0", cwd=folder).stdout
    counts = {line.split()[0]: int(line.split()[2]) for line in table.splitlines()[1:]}
    assert counts == Counter(json.loads(line)["kind"] for line in done.stdout.splitlines())

    healthy = {f"utt-{i:05}" for i in range(number)}
    healthy &= {row["id"] for line, row in enumerate(_rows(path), start=1) if row and not expected[line]}
    assert len(healthy) == sum(not kinds for kinds in expected.values())
    done = ds2("data", "fix", path.name, "fixed.jsonl", "--audio", "decode", "--max-bad", "100", cwd=folder)
    assert done.returncode == 0, done.stderr
    kept, dropped = jsonl(folder / "fixed.jsonl"), jsonl(folder / "fixed.jsonl.dropped.jsonl")
    assert len(kept) + len(dropped) == number == len(expected)
    before = {row["id"]: row for line, row in enumerate(_rows(path), start=1) if row and not expected[line]}
    after = {row["id"]: row for row in kept}
    assert all(after.get(name) == row for name, row in before.items())
    left, _ = find_faults(ds2, folder / "fixed.jsonl")
    assert not REPAIRED & set().union(*left.values())
    return planted


def _rows(path):
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            yield None


@pytest.mark.long
def test_each_planted_fault_is_found_and_fix_keeps_every_healthy_row(ds2, jsonl, tmp_path, shared_data):
    check_every_fault(ds2, jsonl, tmp_path, shared_data / "LibriSpeech", 180, 1, 1)


@pytest.mark.slow
def test_all_planted_faults_among_a_thousand_utterances_are_found(ds2, jsonl, tmp_path, shared_data):
    planted = check_every_fault(ds2, jsonl, tmp_path, shared_data / "LibriSpeech", 1000, 5, 2)
    assert planted.total() >= 5 * len(PLANTS)
    assert SYMBOLS.count("\n") == 29
