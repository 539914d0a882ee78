from pathlib import Path

import pytest

from ds2cli.corpora._ids import id_from_path, unique_ids


def test_id_from_path():
    assert id_from_path(Path("a b/c.d.wav")) == "a_b-c.d"
    assert id_from_path(Path("/x/../y.wav")) == "x-y"


def test_paths_with_ids_of_their_own_keep_them():
    assert unique_ids([]) == []
    assert unique_ids(["b.wav", "a.wav", "x/a.wav", "A.wav"]) == ["b", "a", "x-a", "A"]


@pytest.mark.parametrize(
    "paths",
    [
        ["a.wav", "a.mp3"],
        ["x/y.wav", "x-y.wav", "x-y.flac"],
        ["a b.wav", "a_b.wav", "a  b.wav", "a\u00a0b.wav"],
        ["a", "a.wav"],
        ["caf\udce9.wav", "caf\udce9.mp3"],
    ],
)
def test_paths_that_would_share_an_id_all_get_a_hash(paths):
    ids = unique_ids([*paths, "other.wav"])
    assert ids[-1] == "other"
    assert len(set(ids)) == len(ids)
    plain = id_from_path(Path(paths[0]))
    assert all(name.startswith(f"{plain}-") and not any(c.isspace() for c in name) for name in ids[:-1])
    # they depend neither on the order nor on the other paths
    assert unique_ids([*paths[:2]][::-1]) == ids[:2][::-1]


def test_a_path_that_is_given_twice_keeps_its_id():
    assert unique_ids(["a.wav", "a.wav"]) == ["a", "a"]
    first, again, other = unique_ids(["a.wav", "a.wav", "a.mp3"])
    assert first == again != other


def test_a_path_that_looks_like_an_id_with_a_hash():
    hashed = unique_ids(["a.wav", "a.mp3"])[0]
    ids = unique_ids(["a.wav", "a.mp3", f"{hashed}.wav"])
    assert len(set(ids)) == 3


def test_another_rule_for_ids():
    upper = unique_ids(["a", "A", "b"], lambda path: str(path).upper())
    assert [name[:2] for name in upper] == ["A-", "A-", "B"]
    assert len(set(upper)) == 3
