"""Error rates of greedy decoding, for a look at a network while it trains."""

from __future__ import annotations

from dataclasses import astuple

import torch

from ds2cli.metrics.wer import Counts, characters, count, words
from ds2cli.nn.checkpoint import Bundle
from ds2cli.nn.emit import emissions
from ds2cli.nn.examples import Plain, Utterance
from ds2cli.nn.workers import Group
from ds2cli.search.greedy import collapse

CHUNK = 256
"""Utterances whose emissions are in memory at once."""


def error_counts(
    bundle: Bundle, utterances: list[Utterance], plain: Plain, group: Group | None = None
) -> tuple[Counts, Counts, dict[str, str]]:
    """Word and character errors of greedy decoding, and the texts that this process found.

    The processes of a group share the work and sum the counts.
    """
    group = group or Group()
    utterances = group.share(utterances)
    by_word, by_character, texts = Counts(), Counts(), {}
    for start in range(0, len(utterances), CHUNK):
        chunk = utterances[start : start + CHUNK]
        for utterance, scores in zip(chunk, emissions(bundle, [plain(u) for u in chunk]), strict=True):
            text = texts[utterance.id] = bundle.vocab.decode(collapse(scores.argmax(1)).tolist())
            by_word += count(words(utterance.text), words(text))
            by_character += count(characters(utterance.text), characters(text))
    sums = group.add(torch.tensor([*astuple(by_word), *astuple(by_character)])).tolist()
    return Counts(*sums[:4]), Counts(*sums[4:]), texts
