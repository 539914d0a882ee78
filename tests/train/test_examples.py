from __future__ import annotations

import numpy as np

from ds2cli.train.examples import Utterance, fingerprint


def utterance(name, frames, labels=(1, 2)):
    return Utterance(name, name, frames, np.array(labels, np.int32), "ab")


def test_the_fingerprint_changes_with_ids_lengths_and_labels():
    base = fingerprint([utterance("a", 2)])
    others = [[utterance("b", 2)], [utterance("a", 3)], [utterance("a", 2, (2, 1))], []]
    assert len({base, *map(fingerprint, others)}) == 5
