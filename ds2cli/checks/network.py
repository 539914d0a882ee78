"""What texts and durations must fit: the symbols of a network, its stride, and the speeds of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ds2cli.config.base import build, read_toml
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import UsageError
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class NetworkFacts:
    """What is known of a network. vocab: None if it has all characters of the texts.  stride: None if unknown.

    features: settings that it was trained on, if known.  speeds: of the training, with the highest of `augment.speed`.
    """

    vocab: Vocab | None = None
    stride: int | None = None
    features: dict[str, Any] | None = None
    speeds: tuple[float, ...] = field(default=(1.0,))


def read_facts(
    exp: str | None, vocab: str | None, train_config: str | None, texts: Callable[[], Iterable[str]]
) -> NetworkFacts:
    """The facts of a trained network, a list of symbols, or the settings of a training.

    texts: of the training set, from which symbols are made that are not characters.
    UsageError if the settings contradict each other; errors of reading the files.
    """
    given = [name for name, value in (("--exp", exp), ("--train-config", train_config)) if value]
    if len(given) > 1:
        raise UsageError("--exp and --train-config exclude each other: both have a stride (choose one)")
    symbols = None
    if vocab:
        from ds2cli.recognizer.vocabulary import open_vocab

        symbols = open_vocab(vocab)
    if exp:
        from ds2cli.runtime.file import read_network

        network = read_network(exp)
        return NetworkFacts(symbols or network.vocab, network.config.stride, dict(network.features))
    if not train_config:
        return NetworkFacts(symbols)
    config = build(TrainConfig, (train_config, read_toml(train_config)))
    if symbols is None and (config.units.kind != "char" or config.units.min_count > 1):
        symbols = Vocab.from_texts((" ".join(text.split()) for text in texts()), config.units)
    # stretching the features changes the number of frames as a speed does
    fastest = {1.0 + config.augment.speed} if config.augment.speed else set()
    return NetworkFacts(symbols, config.model.stride, None, tuple(sorted({*config.augment.speeds, *fastest})))


def parse_speeds(text: str) -> tuple[float, ...]:
    """The factors of --speeds; UsageError for anything but numbers from 0.5 to 2."""
    try:
        speeds = tuple(sorted({float(word) for word in text.replace(",", " ").split()}))
    except ValueError:
        speeds = ()
    if not speeds or not all(0.5 <= speed <= 2 for speed in speeds):
        raise UsageError(f'--speeds {text!r}: expected numbers from 0.5 to 2, such as "0.9 1.0 1.1"')
    return speeds


def feature_settings(facts: NetworkFacts, saved: dict[str, Any], name: str) -> FeatureConfig:
    """The settings of features: those of the network, else those saved with a manifest."""
    return FeatureConfig.from_saved(saved if facts.features is None else facts.features, name)
