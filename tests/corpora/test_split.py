from collections import Counter

import pytest

from ds2cli.corpora._split import assign_split


def test_the_split_never_changes():
    # a changed rule would move rooms and noises that a network was trained with into the test set
    keys = ("smallroom-Room001", "mediumroom-Room003", "noise-free-sound-0000", "noise-free-sound-0002")
    # $ printf noise-free-sound-0002 | sha1sum: the last digit of that number in base 10
    assert [assign_split(key) for key in keys] == ["train", "train", "train", "test"]
    shares = Counter(assign_split(f"room {i}") for i in range(5000))
    assert shares["train"] / 5000 == pytest.approx(0.8, abs=0.03)
    assert shares["dev"] / 5000 == pytest.approx(0.1, abs=0.02)


def test_any_file_name_has_a_part():
    assert assign_split("é\udce9") in ("train", "dev", "test") and assign_split("") in ("train", "dev", "test")
