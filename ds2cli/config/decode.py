"""Settings of `ds2 decode` and `ds2 transcribe`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class SearchConfig(StageConfig):
    """Search the text of each utterance: Q = log p_ctc + alpha log p_lm + beta words (Deep Speech 2, equation 12)."""

    lm: str | None = setting(None, help="Language model, an ARPA file of words or characters [default: none].")
    alpha: float | None = setting(None, help="Weight of the model [default: as in EXP/decode.toml, else 0.8].", min=0)
    beta: float | None = setting(None, help="Bonus a word, nats [default: as in EXP/decode.toml, else 1.0].")
    unknown: float | None = setting(
        None, help="Added for a word the model does not know, nats [default: as in EXP/decode.toml, else -4.0]."
    )
    sentence_end: bool = setting(True, help="Let the model score the end of the sentence.")
    beam: int = setting(64, help="Hypotheses kept a step.", min=1, max=100000)
    beam_gap: float = setting(20.0, help="Drop hypotheses this far behind the best (nats).", min=0)
    prune_mass: float = setting(0.99, help="Try the fewest symbols of a step that have this probability.", min=0, max=1)
    prune_top: int = setting(40, help="Try at most so many symbols of a step.", min=1)
    prune_logp: float | None = setting(None, help="Try no symbol below this log-probability (nats).", max=0)
    greedy: bool = setting(False, help="Take the best path instead of searching.")
    nbest: int = setting(0, help="Write so many hypotheses as `nbest`: text, score, am, lm (nats).", min=0, max=100000)
    timestamps: bool = setting(False, help="Write when each word was said, as `pred_words`.")
    nj: int = setting(1, help="Threads.", min=1)


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(SearchConfig):
    """Search, or tune what the search weighs."""

    tune: bool = setting(False, help="Find alpha, beta and unknown on IN, which has texts; EXP/decode.toml keeps them.")
    alphas: tuple[float, ...] = setting((0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6), help="Each alpha that --tune tries.")
    betas: tuple[float, ...] = setting((-1.0, 0.0, 1.0, 2.0, 3.0, 4.0), help="Each beta that --tune tries.")
    unknowns: tuple[float, ...] = setting((0.0, -3.0, -6.0, -10.0), help="Each unknown that --tune tries.")


WEIGHTS = {"alpha": 0.8, "beta": 1.0, "unknown": -4.0}
"""What the weights of a language model are when nobody says."""


@dataclass(frozen=True, kw_only=True)
class TranscribeConfig(SearchConfig):
    """From recordings to text in one command."""

    json: bool = setting(False, help="Write JSON lines: id, audio_filepath, duration, pred_text, pred_score, …")
    channel: str = setting("mix", help="Channel of a file with several: mix (their mean) or a number from 0.")
