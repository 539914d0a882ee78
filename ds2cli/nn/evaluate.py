"""Error rates of greedy decoding, for a look at a network while it trains."""

from __future__ import annotations

from dataclasses import astuple

import torch

from ds2cli.metrics.wer import Counts, characters, count, words
from ds2cli.nn.batches import Reader, Utterance
from ds2cli.nn.checkpoint import Bundle
from ds2cli.nn.emit import emissions
from ds2cli.nn.workers import Group
from ds2cli.search.greedy import collapse

CHUNK = 256
"""Utterances whose emissions are in memory at once."""


def error_counts(
    bundle: Bundle, utterances: list[Utterance], read: Reader, group: Group | None = None
) -> tuple[Counts, Counts]:
    """Word and character errors of greedy decoding; the processes of a group share the work and sum the counts."""
    group = group or Group()
    utterances = group.share(utterances)
    by_word, by_character = Counts(), Counts()
    for start in range(0, len(utterances), CHUNK):
        chunk = utterances[start : start + CHUNK]
        for utterance, scores in zip(chunk, emissions(bundle, [read(u.feats) for u in chunk]), strict=True):
            text = bundle.vocab.decode(collapse(scores.argmax(1)).tolist())
            by_word += count(words(utterance.text), words(text))
            by_character += count(characters(utterance.text), characters(text))
    sums = group.add(torch.tensor([*astuple(by_word), *astuple(by_character)])).tolist()
    return Counts(*sums[:4]), Counts(*sums[4:])
