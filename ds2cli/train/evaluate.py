"""Error rates of greedy decoding, for a look at a network while it trains."""

from __future__ import annotations

from dataclasses import astuple

import torch

from ds2cli.errors import BadUtterance
from ds2cli.metrics.wer import Counts, characters, count, words
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.infer import emissions
from ds2cli.search.greedy import collapse
from ds2cli.train.examples import DevFeatures, Spectrogram, Utterance

CHUNK = 256
"""Utterances whose emissions are in memory at once."""


def count_greedy_errors(
    trained: TrainedModel, utterances: list[Utterance], plain: DevFeatures, group: ProcessGroup | None = None
) -> tuple[Counts, Counts, dict[str, str], dict[str, str]]:
    """Word and character errors of greedy decoding, the texts that this process found, and what could not be read.

    What could not be read counts as if nothing was found in it, so that no network looks better for it.
    The processes of a group share the work, sum the counts, and tell each other why an utterance does not count.
    """
    group = group or ProcessGroup()
    utterances = group.shard(utterances)
    by_word, by_character, texts, lost = Counts(), Counts(), {}, {}
    for start in range(0, len(utterances), CHUNK):
        feats: dict[str, Spectrogram] = {}
        chunk = utterances[start : start + CHUNK]
        for utterance in chunk:
            try:
                feats[utterance.id] = plain(utterance)
            except BadUtterance as e:
                lost[utterance.id] = e.reason
                by_word += count(words(utterance.text), [])
                by_character += count(characters(utterance.text), [])
        read = [u for u in chunk if u.id in feats]
        for utterance, scores in zip(read, emissions(trained, list(feats.values())), strict=True):
            text = texts[utterance.id] = trained.vocab.decode(collapse(scores.argmax(1)).tolist())
            by_word += count(words(utterance.text), words(text))
            by_character += count(characters(utterance.text), characters(text))
    *sums, missing = group.all_reduce(torch.tensor([*astuple(by_word), *astuple(by_character), len(lost)])).tolist()
    return Counts(*sums[:4]), Counts(*sums[4:]), texts, group.all_gather(lost) if missing else {}
