"""Settings of `ds2 score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import StageConfig, setting

SEARCH_SETTINGS = ("lm", "alpha", "beta", "unknown", "unknown_letter")
"""Settings of --why that override those that the rows were decoded with."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(StageConfig):
    """Count the errors of `pred_text` against `text`."""

    no_effect: ClassVar = dict.fromkeys(SEARCH_SETTINGS, ("why", (None,))) | {
        "context": ("confusions", (0,)),
        "resample": ("compare", (False,)),
        "force": ("compare", (False,)),
        "tokenizer": ("unit", ("word", "char", "both", "mixed")),
    }

    unit: Literal["word", "char", "both", "mixed", "token"] = setting(
        "both", help="Unit of the error rate; both: words and characters; mixed: Chinese characters and other words."
    )
    char_spaces: bool = setting(
        True, help="Count the space between two words as a character (never beside a Chinese character)."
    )
    tokenizer: str | None = setting(
        None, help="With --unit token: experiment or SentencePiece model whose tokens are counted."
    )
    alignment: Literal["kaldi", "sclite"] = setting(
        "kaldi", help="Costs and tie rule: kaldi (every error costs 1) or sclite (3 per insertion or deletion, else 4)."
    )
    normalizer: Literal["none", "basic", "english", "chinese", "prepare", "whisper"] = setting(
        "none", help="Normalize both texts first; prepare: as ds2 prepare does, in the row's `lang`."
    )
    lang: str = setting("en", help="Language of rows without `lang`, for --normalizer and for differences of writing.")
    mode: Literal["all", "present", "strict"] = setting(
        "all", help="Utterances without a hypothesis: all words deleted (all), left out (present), refused (strict)."
    )
    worst: int = setting(0, help="Print the alignments of this many utterances, those with the most errors.", min=0)
    confusions: int = setting(0, help="Print this many of the most frequent errors.", min=0)
    context: int = setting(0, help="With --confusions: show each error with this many words on both sides.", min=0)
    by: str | None = setting(
        None, help="Also print a rate per value of this field, such as speaker, or per range of length or duration."
    )
    ref: str | None = setting(
        None, help="Manifest of the references; those of its utterances that IN lacks count as deleted."
    )
    format: Literal["auto", "rows", "trn", "ctm", "kaldi"] = setting(
        "auto", help="Format of IN and --ref; ctm: IN is a CTM, --ref an STM; kaldi: Kaldi's `text`."
    )
    json: str | None = setting(None, help="Write everything to this file as JSON, with the certificate.")
    trn: str | None = setting(None, help="Write PREFIX.ref.trn and PREFIX.hyp.trn.")
    ctm: str | None = setting(None, help="Write the words of `pred_words` to this CTM file.")
    kaldi: str | None = setting(None, help="Write Kaldi's scoring_kaldi/ (best_wer, wer_details/) to this folder.")
    sclite: str | None = setting(None, help="Run sclite in this folder and print its summary (needs sctk).")
    calibration: bool = setting(False, help="Print how often words of each confidence are right.")
    compare: bool = setting(False, help="Compare systems: every argument is the result of one.")
    resample: str = setting(
        "id", help="With --compare: what the bootstrap draws: utterances (id) or all of a field's value (speaker)."
    )
    draws: int = setting(10000, help="Replications of the bootstrap.", min=100)
    seed: int = setting(0, help="Seed of the bootstrap.")
    force: bool = setting(False, help="With --compare: also compare scores of other references or normalizers.")
    why: str | None = setting(
        None, help="Experiment that IN was decoded with: find the cause of each error (field `errors` of OUT)."
    )
    lm: str | None = setting(None, help="With --why: language model [default: as IN was decoded].")
    alpha: float | None = setting(None, help="With --why: language-model weight [default: as IN was decoded].", min=0)
    beta: float | None = setting(
        None, help="With --why: word insertion bonus (nats per word) [default: as IN was decoded]."
    )
    unknown: float | None = setting(
        None, help="With --why: added per unknown word (nats; negative is a penalty) [default: as IN was decoded]."
    )
    unknown_letter: float | None = setting(
        None,
        help="With --why: added per letter of an unknown word (nats; negative is a penalty) "
        "[default: as IN was decoded].",
    )
    nj: int = setting(1, help="Threads for alignments, and for the search of --why.", min=1, per_core=1)
    max_wer: float | None = setting(
        None, help="Exit with status 1 if the word error rate is above this (percent).", min=0
    )
    max_cer: float | None = setting(
        None, help="Exit with status 1 if the character error rate is above this (percent).", min=0
    )
