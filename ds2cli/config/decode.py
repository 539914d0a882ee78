"""Settings of `ds2 decode` and `ds2 transcribe`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting

WEIGHTS = {"alpha": 0.8, "beta": 1.0, "unknown": -4.0, "unknown_letter": -1.0}
"""What the weights of a language model are when nobody says."""

LIMITS = {"beam": 64, "beam_gap": 20.0, "prune_mass": 0.99, "prune_top": 40}
"""What the search leaves out when nobody says."""

TUNED = {**WEIGHTS, **LIMITS}
"""All that `--tune` may find, and EXP/decode.toml may hold."""


def _tuned(name: str) -> str:
    return f"[default: as in EXP/decode.toml, else {TUNED[name]:g}]."


@dataclass(frozen=True, kw_only=True)
class SearchConfig(StageConfig):
    """Search the text of each utterance: Q = log p_ctc + alpha log p_lm + beta words (Deep Speech 2, equation 12)."""

    lm: str | None = setting(
        None, help="Language model of words or characters: ARPA, or a KenLM binary, which is mapped [default: none]."
    )
    alpha: float | None = setting(None, help=f"Weight of the model {_tuned('alpha')}", min=0)
    beta: float | None = setting(None, help=f"Bonus a word, nats {_tuned('beta')}")
    unknown: float | None = setting(None, help=f"Added for a word the model does not know, nats {_tuned('unknown')}")
    unknown_letter: float | None = setting(
        None, help=f"Added for each symbol of it that no known word goes on with, nats {_tuned('unknown_letter')}"
    )
    closed: bool = setting(False, help="Write only words that the model knows.")
    lexicon: str | None = setting(None, help="File of words, one a line: write only these [default: any].")
    hotwords: str | None = setting(
        None,
        help="File of phrases to prefer, one a line, a tab and its own weight behind it if need be [default: none].",
    )
    hotword_weight: float = setting(
        8.0, help="Added for a phrase of --hotwords each time it is said, nats; below 0 to avoid it."
    )
    sentence_end: bool = setting(True, help="Let the model score the end of the sentence.")
    beam: int | None = setting(None, help=f"Hypotheses kept a step {_tuned('beam')}", min=1, max=100000)
    beam_gap: float | None = setting(
        None, help=f"Drop hypotheses this far behind the best, nats {_tuned('beam_gap')}", min=0
    )
    prune_mass: float | None = setting(
        None, help=f"Try the fewest symbols of a step that have this probability {_tuned('prune_mass')}", min=0, max=1
    )
    prune_top: int | None = setting(None, help=f"Try at most so many symbols of a step {_tuned('prune_top')}", min=1)
    prune_logp: float | None = setting(None, help="Try no symbol below this log-probability (nats).", max=0)
    greedy: bool = setting(False, help="Take the best path instead of searching.")
    nbest: int = setting(0, help="Write so many hypotheses as `nbest`: text, score, am, lm (nats).", min=0, max=100000)
    timestamps: bool = setting(False, help="Write when each word was said, as `pred_words`.")
    partials: float | None = setting(
        None, help="Search in pieces this long (s), and write as `partials` what the text was after each.", min=0.001
    )
    nj: int = setting(1, help="Threads that search.", min=1)


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(SearchConfig):
    """Search, or tune what the search weighs."""

    emissions: str | None = setting(
        None, help="Keep the log-probabilities of rows that have none in an archive in this folder, as ds2 emit does."
    )
    tune: bool = setting(False, help="Find the weights on IN, which has texts; EXP/decode.toml keeps them.")
    tune_speed: bool = setting(False, help="With --tune: then find the narrowest beam and pruning that lose nothing.")
    plot: str | None = setting(
        None, help="With --tune: PNG of the error rates around the best weights [default: EXP/decode.png]."
    )
    seed: int = setting(0, help="With --tune: of the resampling that the interval comes from.", min=0)
    alphas: tuple[float, ...] = setting((0.4, 0.8, 1.2, 1.6), help="Each alpha that --tune starts from.")
    betas: tuple[float, ...] = setting((-1.0, 1.0, 3.0), help="Each beta that --tune starts from.")
    unknowns: tuple[float, ...] = setting((-1.0, -4.0, -8.0), help="Each unknown that --tune starts from.")
    unknown_letters: tuple[float, ...] = setting((0.0, -1.0, -2.0), help="Each unknown_letter that --tune starts from.")


@dataclass(frozen=True, kw_only=True)
class TranscribeConfig(SearchConfig):
    """From recordings to text in one command."""

    json: bool = setting(False, help="Write JSON lines: id, audio_filepath, duration, pred_text, pred_score, …")
    channel: str = setting("mix", help="Channel of a file with several: mix (their mean) or a number from 0.")
