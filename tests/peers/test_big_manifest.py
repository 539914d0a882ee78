"""utils/big_manifest.py writes what the commands accept: valid rows, features behind their ids, labels that fit."""

import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli import archive, manifest
from ds2cli.config.data import ValidateConfig
from ds2cli.text.normalize import TextRules

TOOL = Path(__file__).parents[2] / "utils" / "big_manifest.py"


def make(folder, *options):
    subprocess.run([sys.executable, TOOL, folder / "m.jsonl", *map(str, options)], check=True)
    return list(map(manifest.parse, (folder / "m.jsonl").read_text("utf-8").splitlines()))


def test_rows_are_normalized_and_always_the_same(tmp_path):
    rows = make(tmp_path / "a", "--rows", 3000)
    rules = TextRules.of(ValidateConfig())
    assert len(rows) == 3000 and all(rules.normalize(row["text"], None) == row["text"] for row in rows)
    assert len({row["text"] for row in rows}) > 2990 and all(0 < row["duration"] < 60 for row in rows)
    make(tmp_path / "b", "--rows", 3000, "--shuffle")
    first, shuffled = ((tmp_path / name / "m.jsonl").read_text().splitlines() for name in "ab")
    assert shuffled != first and sorted(shuffled) == first


@pytest.mark.parametrize("frames", [20, 100])
def test_features_stand_behind_the_ids_of_their_rows(tmp_path, frames):
    rows = make(tmp_path, "--rows", 100, "--features", "--archives", 3, "--frames", frames, "--bins", 8)
    assert len({row["feats"].rpartition(":")[0] for row in rows}) == 3
    for row in rows:
        assert archive.read_matrix(str(tmp_path / row["feats"]), row["id"]).shape == (frames, 8)
        repeats = sum(a == b for a, b in zip(row["text"], row["text"][1:], strict=False))
        # of a network of stride 2
        assert 1 <= len(row["text"]) + repeats <= frames // 2 and row["num_frames"] == frames
    assert [key for key, _ in archive.list_matrices(str(tmp_path / "feats/m.1.ark"))] == [
        row["id"] for row in rows[:34]
    ]
