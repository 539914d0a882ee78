"""Settings of `ds2 score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import StageConfig, setting

SEARCH_SETTINGS = ("lm", "alpha", "beta", "unknown", "unknown_letter")
"""Settings of --why that override those that the rows were decoded with."""

OF_ONE_RESULT = (
    *("worst", "confusions", "by", "trn", "ctm", "kaldi", "sclite", "calibration", "why", "max_wer", "max_cer"),
    *("max_bad", "dropped"),
)
"""Settings that --compare does not use."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(StageConfig):
    """Count the errors of `pred_text` against `text`."""

    no_effect: ClassVar = dict.fromkeys(SEARCH_SETTINGS, ("why", (None,))) | {
        "context": ("confusions", (0,)),
        "resample": ("compare", (False,)),
        "force": ("compare", (False,)),
        "draws": ("compare", (False,)),
        "seed": ("compare", (False,)),
        "char_spaces": ("unit", ("word", "mixed", "token")),
        "tokenizer": ("unit", ("word", "char", "both", "mixed")),
        **dict.fromkeys(OF_ONE_RESULT, ("compare", (True,))),
    }

    unit: Literal["word", "char", "both", "mixed", "token"] = setting(
        "both", help="Unit of the error rate; both: word and char; mixed: Chinese characters, words of other scripts."
    )
    char_spaces: bool = setting(
        True, help="Count the space between two words as a character (never beside a Chinese character)."
    )
    tokenizer: str | None = setting(
        None, help="With --unit token: experiment or SentencePiece model whose tokens are counted."
    )
    alignment: Literal["kaldi", "sclite"] = setting(
        "kaldi", help="Error costs and tie-breaking: kaldi (all 1) or sclite (insertion, deletion 3, substitution 4)."
    )
    normalizer: Literal["none", "basic", "english", "chinese", "prepare", "conversation", "whisper"] = setting(
        "none", help="Normalize both texts before they are compared; ds2 score --help describes the rules."
    )
    lang: str = setting("en", help="Language of rows without `lang`, for --normalizer and the warning about writing.")
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
        None, help="File of references in any of the formats; --mode decides about those without a hypothesis."
    )
    format: Literal["auto", "rows", "trn", "ctm", "kaldi"] = setting(
        "auto", help="Format of IN and --ref; auto: by name or first line; ctm: of IN only; kaldi: Kaldi's `text`."
    )
    json: str | None = setting(
        None, help="Write rates, alignments and the certificate (hashes of the texts) to this JSON file."
    )
    trn: str | None = setting(None, help="Prefix of the trn files to write: PREFIX.ref.trn and PREFIX.hyp.trn.")
    ctm: str | None = setting(None, help="Write the words of `pred_words` (times, confidences) to this CTM file.")
    kaldi: str | None = setting(None, help="Write Kaldi's scoring_kaldi/ (best_wer, wer_details/) to this folder.")
    sclite: str | None = setting(
        None, help="Run NIST's sclite, print its summary, write its reports to this folder (needs SCTK)."
    )
    calibration: bool = setting(
        False, help="Print reliability tables of words' and utterances' confidences, ECE, NCE and AUC."
    )
    compare: bool = setting(False, help="Compare two or more systems: each argument is the result of one.")
    resample: str = setting(
        "id", help="With --compare: what the bootstrap resamples: id (utterances) or a field, such as speaker."
    )
    draws: int = setting(10000, help="Replications of the bootstrap of --compare.", min=100, max=1_000_000)
    seed: int = setting(0, help="Seed of the bootstrap of --compare.")
    force: bool = setting(False, help="With --compare: compare even if references or normalizers differ.")
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
    nj: int = setting(1, help="Threads of the alignment, and of the search of --why.", min=1, per_core=1)
    max_wer: float | None = setting(
        None, help="Exit with status 1 if the word error rate is above this (percent).", min=0
    )
    max_cer: float | None = setting(
        None, help="Exit with status 1 if the character error rate is above this (percent).", min=0
    )
