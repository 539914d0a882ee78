"""Stored features and emissions, written here and then damaged."""

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.checks.features import SameColumns, check_matrices


@pytest.fixture
def refs(tmp_path):
    with ArkWriter(tmp_path / "a.ark") as ark:
        x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
        good = ark.write("a", x)
        x[3, 2] = np.nan
        return {
            "good": good,
            "nan": ark.write("b", x),
            "narrow": ark.write("c", x[:, :4]),
            "path": str(tmp_path / "a.ark"),
        }


def kinds(row, values=True):
    return [kind for kind, _ in check_matrices(row, values=values)[0]]


def test_matrices_are_compared_with_their_rows(refs):
    assert check_matrices({"id": "a", "feats": refs["good"], "num_frames": 20}, values=True) == ([], {"feats": 5})
    assert kinds({"id": "a", "feats": refs["good"], "num_frames": 21}) == ["wrong-num-frames"]
    assert kinds({"id": "x", "feats": refs["good"]}) == ["stale-archive"]
    assert kinds({"id": "a", "emission": refs["good"], "num_steps": 19}) == ["wrong-num-frames"]
    assert kinds({"id": "b", "feats": refs["nan"]}) == ["not-a-number"]
    assert kinds({"id": "b", "feats": refs["nan"]}, values=False) == []
    assert kinds({"id": "a", "feats": refs["path"] + ".gone:3"}) == ["missing-archive"]
    assert kinds({"id": "a", "feats": refs["path"] + ":999999"}) == ["truncated-archive"]
    assert kinds({"id": "a", "feats": refs["path"]}) == ["not-a-matrix"]
    assert kinds({"id": "a", "audio_filepath": "x.wav"}) == []


def test_the_first_row_determines_the_number_of_bins():
    same = SameColumns()
    assert same.check(1, {"feats": 5}) == same.check(2, {}) == same.check(3, {"feats": 5, "emission": 4}) == []
    assert same.check(4, {"feats": 4}) == [("other-bins", "feats: 4 columns, expected 5 as in line 1")]
    assert same.check(5, {"emission": 5}) == [("other-bins", "emission: 5 columns, expected 4 as in line 3")]
