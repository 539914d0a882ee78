"""The search that settings describe: filled in from what an experiment keeps, joined with its model and word lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ds2cli.config.base import MADE_BY, build, read_toml
from ds2cli.config.decode import LIMITS, TUNED, WEIGHTS, DecodeConfig, SearchConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.lm.lint import lint
from ds2cli.lm.query import NgramLm
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.beam import BeamSearch
from ds2cli.search.greedy import greedy
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.wordlist import read_phrases, read_words

KEPT = "decode.toml"
"""The file of an experiment that keeps what `--tune` found."""

Search = Callable[[Any, int], list[Hypothesis]]
S = TypeVar("S", bound=SearchConfig)


def _silent(_: str) -> None:
    pass


def resolve_settings(config: S, exp: str, warn: Callable[[str], None] = _silent) -> S:
    """The settings with the weights filled in: option and --config, else EXP/decode.toml, else the default.

    EXP/decode.toml was found with a language model, and holds for a search with one; `warn` is called when that was
    another one. UsageError when settings contradict each other.
    """
    _refuse_contradictions(config)
    defaults: dict[str, Any] = {**LIMITS, **(WEIGHTS if config.lm is not None else {})}
    found = kept(exp) if config.lm is not None else DecodeConfig()
    if config.closed:
        defaults = {name: value for name, value in defaults.items() if not name.startswith("unknown")}
    filled: dict[str, Any] = {}
    taken = False
    for name, default in defaults.items():
        asked, tuned = getattr(config, name), getattr(found, name)
        filled[name] = asked if asked is not None else tuned if tuned is not None else default
        taken = taken or (asked is None and tuned is not None)
    if taken and _model_name(found.lm or "") not in ("", _model_name(config.lm or "")):
        warn(f"{Path(exp) / KEPT} was found with {found.lm}, not {config.lm} (ds2 decode --tune finds what suits it)")
    return replace(config, **filled)


def _model_name(path: str) -> str:
    """The name of a model in whatever format it lies there."""
    name = Path(path).name
    for ending in (".gz", ".arpa", ".bin"):
        name = name.removesuffix(ending)
    return name


def kept(exp: str) -> DecodeConfig:
    """What EXP/decode.toml says, and the model it was found with; nothing where there is none.

    UsageError when it holds anything that is not tuned.
    """
    path = Path(exp) / KEPT
    values = read_toml(str(path)) if path.is_file() else {}
    for name in values.keys() - {*TUNED, MADE_BY}:
        raise UsageError(f"{path}: {name!r} is not found by ds2 decode --tune, expected {', '.join(TUNED)}")
    return replace(build(DecodeConfig, (str(path), values)), lm=values.get(MADE_BY, {}).get("lm"))


def build_search(
    config: SearchConfig,
    experiment: Experiment,
    warn: Callable[[str], None] = _silent,
    references: Iterable[str] | None = None,
) -> Search:
    """The search the resolved settings describe.

    DataError when network, model and word lists do not go together.
    warn: called with what is odd about them and does not forbid to go on.  references: texts they should go with too.
    """
    vocab = experiment.vocab
    if config.greedy:
        return lambda log_probs, best: [greedy(log_probs, vocab)]
    lm = None if config.lm is None else NgramLm.load(config.lm)
    if lm is not None:
        for finding in lint(vocab, lm.words, lm.unigrams(), references):
            if finding.fatal:
                raise DataError(f"{config.lm}: {finding}")
            warn(f"{config.lm}: {finding}")
    hotwords = {} if config.hotwords is None else read_phrases(config.hotwords, vocab, config.hotword_weight)
    words = None
    if config.lexicon is not None:
        words, strangers = read_words(config.lexicon, vocab)
        if strangers:
            some = ", ".join(map(repr, strangers[:3]))
            warn(f"{config.lexicon}: {len(strangers)} of its words cannot be written by this network, as {some}")
    try:
        return BeamSearch.make(
            vocab,
            lm,
            alpha=config.alpha or 0.0,
            beta=config.beta or 0.0,
            unknown=-math.inf if config.closed else config.unknown or 0.0,
            unknown_letter=config.unknown_letter or 0.0,
            sentence_end=config.sentence_end,
            beam=_of(config, "beam"),
            beam_gap=_of(config, "beam_gap"),
            prune_mass=_of(config, "prune_mass"),
            prune_top=_of(config, "prune_top"),
            prune_logp=-math.inf if config.prune_logp is None else config.prune_logp,
            hotwords=hotwords,
            words=words,
        )
    except DataError as e:
        raise DataError(f"{config.lexicon or config.lm}: {e}") from e


def describe_search(config: SearchConfig, exp: str) -> str:
    """The model of resolved settings and what it weighs, in a line; nothing without one."""
    if config.lm is None:
        return ""
    weights = {name: getattr(config, name) for name in WEIGHTS if getattr(config, name) is not None}
    text = ", ".join([config.lm, *(f"{name} {value:g}" for name, value in weights.items())])
    used = [
        name
        for name in TUNED
        if getattr(config, name) is not None and getattr(kept(exp), name) == getattr(config, name)
    ]
    return f"{text}{', closed' if config.closed else ''}{f' ({exp}/{KEPT})' if used else ''}"


def _of(config: SearchConfig, name: str) -> Any:
    value = getattr(config, name)
    return LIMITS[name] if value is None else value


def _refuse_contradictions(config: SearchConfig) -> None:
    if config.hotwords is None and config.hotword_weight != SearchConfig().hotword_weight:
        raise UsageError("--hotword-weight is of the phrases of --hotwords, and there are none (--hotwords FILE)")
    if config.greedy:
        if config.lm is not None:
            raise UsageError("--greedy takes no --lm: the best path asks no model")
        if config.nbest > 1:
            raise UsageError("--greedy finds one text, --nbest needs the beam search")
        for name in ("closed", "lexicon", "hotwords", "partials"):
            if getattr(config, name):
                raise UsageError(f"--greedy takes the best path whatever it says, --{name} needs the beam search")
    if config.lm is None:
        for name in WEIGHTS:
            if getattr(config, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} weighs a language model, and there is none (--lm FILE)")
        if config.closed:
            raise UsageError("--closed keeps to the words of a language model, and there is none (--lm FILE)")
    if config.closed:
        for name in ("unknown", "unknown_letter"):
            if getattr(config, name) is not None:
                option = name.replace("_", "-")
                raise UsageError(
                    f"--closed writes no unknown word, so --{option} weighs nothing: leave one of them out"
                )
