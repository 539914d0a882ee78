"""Error rates of greedy decoding during training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.errors import BadUtterance
from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import Counts, characters, words
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.infer import compute_emissions
from ds2cli.search.greedy import collapse
from ds2cli.train.examples import DevFeatures, Features, Utterance

CHUNK = 256
"""Utterances whose emissions are in memory at once."""


def count_greedy_errors(
    trained: TrainedModel, utterances: list[Utterance], dev_features: DevFeatures, group: ProcessGroup | None = None
) -> tuple[Counts, Counts, dict[str, str], dict[str, str]]:
    """Word errors, character errors, hypotheses by id, and reason codes of unreadable utterances by id.

    An unreadable utterance counts as all deletions, so that it never improves a network's error rate.
    The processes of a group share the work and add up the counts; each returns the hypotheses of its own part.
    """
    group = group or ProcessGroup()
    utterances = group.shard(utterances)
    by_word, by_character, texts, skipped = Counts(), Counts(), {}, {}
    for start in range(0, len(utterances), CHUNK):
        for utterance, scores in _compute_chunk(trained, utterances[start : start + CHUNK], dev_features):
            text = ""
            if isinstance(scores, BadUtterance):
                skipped[utterance.id] = scores.reason
            else:
                text = texts[utterance.id] = trained.vocab.decode(collapse(scores.argmax(1)).tolist())
            by_word += count(words(utterance.text), words(text))
            by_character += count(characters(utterance.text), characters(text))
    counts = torch.tensor([*astuple(by_word), *astuple(by_character), len(skipped)])
    *sums, num_skipped = group.all_reduce(counts).tolist()
    return Counts(*sums[:4]), Counts(*sums[4:]), texts, group.all_gather(skipped) if num_skipped else {}


def _compute_chunk(
    trained: TrainedModel, utterances: list[Utterance], dev_features: DevFeatures
) -> Iterator[tuple[Utterance, NDArray[np.float32] | BadUtterance]]:
    """Each utterance with its log-probabilities (T', V), or the error of one that cannot be read or computed."""
    feats: list[Features] = []
    readable: list[Utterance] = []
    for utterance in utterances:
        try:
            read = partial(dev_features, utterance)
            feats.append(memory.fit_utterance(read, "the recording with its features", memory.SHORTER))
            readable.append(utterance)
        except BadUtterance as e:
            yield utterance, e
    yield from zip(readable, compute_emissions(trained, feats), strict=True)
