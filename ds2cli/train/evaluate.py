"""Error rates of greedy decoding during training."""

from __future__ import annotations

from dataclasses import astuple

import torch

from ds2cli.errors import BadUtterance
from ds2cli.metrics.wer import Counts, characters, count, words
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
        feats: dict[str, Features] = {}
        chunk = utterances[start : start + CHUNK]
        for utterance in chunk:
            try:
                feats[utterance.id] = dev_features(utterance)
            except BadUtterance as e:
                skipped[utterance.id] = e.reason
                by_word += count(words(utterance.text), [])
                by_character += count(characters(utterance.text), [])
        readable = [u for u in chunk if u.id in feats]
        for utterance, scores in zip(readable, compute_emissions(trained, list(feats.values())), strict=True):
            text = texts[utterance.id] = trained.vocab.decode(collapse(scores.argmax(1)).tolist())
            by_word += count(words(utterance.text), words(text))
            by_character += count(characters(utterance.text), characters(text))
    counts = torch.tensor([*astuple(by_word), *astuple(by_character), len(skipped)])
    *sums, num_skipped = group.all_reduce(counts).tolist()
    return Counts(*sums[:4]), Counts(*sums[4:]), texts, group.all_gather(skipped) if num_skipped else {}
