"""Build the search that the settings describe: weights as tuned for the experiment, language model, word lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.base import MADE_BY, build
from ds2cli.config.decode import LIMITS, SCALE_WITH_LM, WEIGHTS, DecodeConfig, SearchConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.experiment_files import LM, is_bundle, open_files
from ds2cli.lm.closed import check_unknown_words
from ds2cli.lm.lint import lint
from ds2cli.lm.query import NgramLm
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.timing import resolve_timing
from ds2cli.search.beam import BeamSearch
from ds2cli.search.greedy import GreedySearch
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.wordlist import read_hotwords, read_word_list

TUNED_FILE = "decode.toml"
"""File of an experiment with the settings found by `ds2 decode --tune`."""

CONFIDENCE_SCALE = "confidence_scale"
"""The setting that `--tune` fits when the weights are found."""

TUNABLE = (*WEIGHTS, *LIMITS, CONFIDENCE_SCALE)
"""Settings that `--tune` may find and EXP/decode.toml may contain."""

S = TypeVar("S", bound=SearchConfig)


class Search(Protocol):
    """Finds texts for an emission; GreedySearch and BeamSearch (search/) are the two kinds."""

    def __call__(self, log_probs: NDArray[np.float32], best: int = 1) -> list[Hypothesis]:
        """At least one and at most `best` hypotheses, best first. log_probs: (T, V) float32, log-probabilities."""
        ...

    def stream(self) -> SearchStream:
        """A search of one utterance that arrives in chunks."""
        ...


class SearchStream(Protocol):
    """The search of one utterance that arrives in chunks of any length: GreedyStream or BeamStream."""

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Search more steps (T, V)."""
        ...

    def best(self, count: int = 1) -> list[Hypothesis]:
        """What the search returns for all steps so far."""
        ...


def _ignore(_: str) -> None:
    pass


def find_lm(config: SearchConfig, exp: str) -> str | None:
    """The language model of a search: that of the settings, else that of a bundle, of which it has the path.

    A greedy search has none.
    """
    if config.lm is not None or config.greedy or not is_bundle(exp):
        return config.lm
    return exp if open_files(exp).has(LM) else None


def resolve_settings(
    config: S, exp: str, warn: Callable[[str], None] = _ignore, *, is_own_lm_default: bool = True
) -> S:
    """Fill in weights, pruning limits and scale of confidences that are None: from EXP/decode.toml, else by default.

    With timestamps also the correction of their times, from EXP/align.toml.

    is_own_lm_default: whether to search with the language model of a bundle where the settings have none (`find_lm`).
    EXP/decode.toml was tuned with a language model and applies only to a search with one; `warn` is called if that was
    a different one. UsageError if settings contradict each other.
    """
    config = replace(config, lm=find_lm(config, exp)) if is_own_lm_default else config
    _check_contradictions(config)
    has_lm = config.lm is not None
    tuned = read_tuned_settings(exp) if has_lm else DecodeConfig()
    defaults = {**LIMITS, CONFIDENCE_SCALE: 1.0}
    if has_lm:
        defaults |= {**WEIGHTS, CONFIDENCE_SCALE: SCALE_WITH_LM}
    if config.closed:
        defaults = {name: value for name, value in defaults.items() if not name.startswith("unknown")}
    unset = [name for name in defaults if getattr(config, name) is None]
    from_file = {name: getattr(tuned, name) for name in unset if getattr(tuned, name) is not None}
    if from_file and config.lm != exp and _model_name(tuned.lm or "") not in ("", _model_name(config.lm or "")):
        path = open_files(exp).where(TUNED_FILE)
        warn(f"{path} was tuned with {tuned.lm}, not with {config.lm} (ds2 decode --tune tunes for this model)")
    filled: dict[str, Any] = {name: from_file.get(name, defaults[name]) for name in unset}
    config = replace(config, **filled)
    return resolve_timing(config, exp) if config.timestamps else config


def read_tuned_settings(exp: str) -> DecodeConfig:
    """The settings in EXP/decode.toml and the language model they were tuned with; all unset without that file.

    UsageError if it contains a setting that is not tunable.
    """
    files = open_files(exp)
    path, values = files.where(TUNED_FILE), files.read_toml(TUNED_FILE)
    for name in values.keys() - {*TUNABLE, MADE_BY}:
        raise UsageError(f"{path}: {name!r} is not a setting of ds2 decode --tune: expected {', '.join(TUNABLE)}")
    made_by = values.get(MADE_BY)
    lm = made_by.get("lm") if isinstance(made_by, dict) else None
    return replace(build(DecodeConfig, (path, values)), lm=lm if isinstance(lm, str) else None)


def build_search(config: SearchConfig, experiment: Experiment, warn: Callable[[str], None] = _ignore) -> Search:
    """Build the search of resolved settings, greedy or beam; see `build_beam_search`."""
    return GreedySearch(experiment.vocab) if config.greedy else build_beam_search(config, experiment, warn)


def build_beam_search(
    config: SearchConfig,
    experiment: Experiment,
    warn: Callable[[str], None] = _ignore,
    references: Iterable[str] | None = None,
    lm: NgramLm | None = None,
) -> BeamSearch:
    """Build the beam search of resolved settings.

    warn: called with each likely problem of the language model or the lexicon that does not prevent decoding.
    references: texts that should match the language model too.
    lm: the language model of the settings, if it has been loaded: a pipe can be read only once.
    DataError if network, language model and word lists do not fit together.
    """
    vocab, limits = experiment.vocab, pruning_limits(config)
    if lm is None and config.lm is not None:
        lm = NgramLm.load(config.lm)
    if lm is not None:
        for finding in lint(vocab, lm.words, lm.unigrams(), references):
            if finding.fatal:
                raise DataError(f"{config.lm}: {finding}")
            warn(f"{config.lm}: {finding}")
        for finding in [] if config.closed else check_unknown_words(lm, vocab.symbols):
            warn(f"{config.lm}: {finding}")
    hotwords = {} if config.hotwords is None else read_hotwords(config.hotwords, vocab, config.hotword_weight)
    words = None
    if config.lexicon is not None:
        words, unspellable = read_word_list(config.lexicon, vocab)
        if unspellable:
            examples = ", ".join(map(repr, unspellable[:3]))
            warn(f"{config.lexicon}: the network cannot write {len(unspellable)} of its words, such as {examples}")
    try:
        return BeamSearch.build(
            vocab,
            lm,
            alpha=config.alpha or 0.0,
            beta=config.beta or 0.0,
            unknown=-math.inf if config.closed else config.unknown or 0.0,
            unknown_letter=config.unknown_letter or 0.0,
            sentence_end=config.sentence_end,
            prune_logp=-math.inf if config.prune_logp is None else config.prune_logp,
            hotwords=hotwords,
            words=words,
            **limits,
        )
    except DataError as e:
        raise DataError(f"{config.lexicon or config.lm}: {e}") from e


def pruning_limits(config: SearchConfig) -> dict[str, Any]:
    """The pruning limits of the settings by name, with the default of each that is None."""
    given = {name: getattr(config, name) for name in LIMITS}
    return {name: LIMITS[name] if value is None else value for name, value in given.items()}


def describe_search(config: SearchConfig, exp: str) -> str:
    """Language model and weights of resolved settings, in one line; empty without a language model."""
    if config.lm is None:
        return ""
    weights = {name: getattr(config, name) for name in WEIGHTS if getattr(config, name) is not None}
    text = ", ".join([config.lm, *(f"{name} {value:g}" for name, value in weights.items())])
    tuned, closed = read_tuned_settings(exp), ", closed" if config.closed else ""
    found = {name: value for name in (*WEIGHTS, *LIMITS) if (value := getattr(tuned, name)) is not None}
    is_tuned = any(getattr(config, name) == value for name, value in found.items())
    return f"{text}{closed}{f' ({open_files(exp).where(TUNED_FILE)})' if is_tuned else ''}"


def _model_name(path: str) -> str:
    """The file name of a language model without the endings of its format."""
    name = Path(path).name
    for ending in (".gz", ".arpa", ".bin"):
        name = name.removesuffix(ending)
    return name


def _check_contradictions(config: SearchConfig) -> None:
    if config.hotwords is None and config.hotword_weight != SearchConfig().hotword_weight:
        raise UsageError("--hotword-weight only applies with --hotwords FILE")
    if config.greedy:
        if config.lm is not None:
            raise UsageError("--lm does not apply with --greedy, which uses no language model (leave out one of them)")
        if config.nbest > 1:
            raise UsageError("--nbest needs the beam search: --greedy finds one text (leave out --greedy)")
        for name in ("closed", "lexicon", "hotwords", "partials"):
            if getattr(config, name):
                raise UsageError(f"--{name} needs the beam search (leave out --greedy)")
    if config.lm is None:
        for name in WEIGHTS:
            if getattr(config, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} only applies with a language model (--lm FILE)")
        if config.closed:
            raise UsageError("--closed only applies with a language model (--lm FILE)")
    if config.closed:
        for name in ("unknown", "unknown_letter"):
            if getattr(config, name) is not None:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} has no effect with --closed, which writes no unknown words")
