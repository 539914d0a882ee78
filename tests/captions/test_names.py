"""Names of files for recordings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.captions.names import FileNames, safe_name, stem_of


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("talk-1", "talk-1"),
        ("a/b", "a_b"),
        ("../../etc", "__.._etc"),
        ("..", "_"),
        (".hidden", "_hidden"),
        ("a:b?", "a_b_"),
        ("日本", "日本"),
        ("a\ud800b\n", "a_b_"),
        ("", "_"),
        ("x.", "x"),
    ],
)
def test_unsafe_characters_are_replaced(name, safe):
    assert safe_name(name) == safe


def test_different_recordings_have_different_names():
    names = FileNames()
    found = [names.name(name) for name in ("a", "A", "a/b", "a_b", "a:b", "é" * 200, "é" * 201)]
    assert found[0] == "a" and found[1].startswith("A-") and found[2] == "a_b"
    assert len({name.casefold() for name in found}) == len(found)
    assert all(len(name.encode()) < 210 for name in found)
    # the same recording again, such as the two channels of one
    assert len({FileNames().name("a"), *(names.name("a") for _ in range(3))}) == 4


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("-", "stdin"),
        ("a/b.c.wav", "b.c"),
        ("a/.wav", ".wav"),
        ("b", "b"),
        ("a b/c  d.mp3", "c_d"),
        ("/x/", "x"),
        (" .wav", "_"),
    ],
)
def test_recordings_known_by_their_paths(path, stem):
    assert stem_of(path) == stem


@given(st.lists(st.text(), max_size=8))
def test_any_names(texts):
    names = FileNames()
    found = [names.name(text) for text in texts]
    assert len({name.casefold() for name in found}) == len(texts)
    for name in found:
        assert name.encode() and "/" not in name and "\0" not in name and not name.startswith(".")
        assert len(name.encode()) <= 220
