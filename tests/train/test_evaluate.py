from __future__ import annotations

import numpy as np
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import BadUtterance
from ds2cli.metrics.wer import Counts
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train import evaluate
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.examples import Utterance

VOCAB = Vocab((BLANK, " ", "a", "b"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)


class UnsummedGroup(ProcessGroup):
    """A process whose counts are not added to those of others."""

    def all_reduce(self, flat):
        return flat


def test_the_counts_of_the_processes_add_up_to_those_of_one(monkeypatch):
    torch.manual_seed(0)
    trained = TrainedModel(DeepSpeech2(CONFIG, 4, 5).eval(), VOCAB, {"hop_ms": 10.0}, 0.02, {})
    rng = np.random.default_rng(0)
    arrays = {f"u{i}": rng.normal(size=(10 + i, 5)).astype(np.float32) for i in range(5)}
    dev = [Utterance(name, name, len(x), np.zeros(0, np.int32), "a b ab") for name, x in arrays.items()]

    def dev_features(utterance):
        return arrays[utterance.feats]

    *expected, texts, _ = count_greedy_errors(trained, dev, dev_features)
    assert expected[0].total == 15 and expected[1].total == 30
    for size in (2, 7):
        parts = [count_greedy_errors(trained, dev, dev_features, UnsummedGroup(rank, size)) for rank in range(size)]
        assert [sum((p[i] for p in parts), Counts()) for i in (0, 1)] == expected
        assert {k: v for *_, part, _ in parts for k, v in part.items()} == texts and set(texts) == set(arrays)
    assert count_greedy_errors(trained, [], dev_features) == (Counts(), Counts(), {}, {})
    monkeypatch.setattr(evaluate, "CHUNK", 2)
    assert count_greedy_errors(trained, dev, dev_features) == (*expected, texts, {}), "in parts of two utterances"


def test_unreadable_utterances_are_named_and_count_as_deletions():
    trained = TrainedModel(DeepSpeech2(CONFIG, 4, 5).eval(), VOCAB, {"hop_ms": 10.0}, 0.02, {})
    dev = [Utterance(name, name, 9, np.zeros(0, np.int32), "a b") for name in ("here", "missing", "there")]

    def dev_features(utterance):
        if utterance.id == "missing":
            raise BadUtterance("missing-audio", "no such file")
        return np.zeros((9, 5), np.float32)

    by_word, by_character, texts, skipped = count_greedy_errors(trained, dev, dev_features)
    assert (
        by_word.total == 6
        and by_word.dels >= 2
        and set(texts) == {"here", "there"}
        and skipped == {"missing": "missing-audio"}
    )
    assert by_character.total == 9 and by_character.dels >= 3


def test_utterances_that_memory_does_not_hold_are_named_and_count_as_deletions():
    trained = TrainedModel(DeepSpeech2(CONFIG, 4, 5).eval(), VOCAB, {"hop_ms": 10.0}, 0.02, {})
    dev = [
        Utterance(name, name, 20, np.zeros(0, np.int32), "a b") for name in ("a", "large-read", "large-network", "b")
    ]

    def dev_features(utterance):
        if utterance.id == "large-read":
            raise MemoryError
        return np.zeros((7000 if utterance.id == "large-network" else 20, 5), np.float32)

    def limit(_, inputs):
        if inputs[0].shape[1] > 6000:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    trained.model.register_forward_pre_hook(limit)
    words, _, texts, skipped = count_greedy_errors(trained, dev, dev_features)
    assert skipped == {"large-read": "out-of-memory", "large-network": "out-of-memory"} and set(texts) == {"a", "b"}
    assert words.total == 8 and words.dels >= 4
