"""What is in a training set: the numbers from which `rule.py` chooses. Notation: T frames."""

from __future__ import annotations

import math
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import eq
from typing import Any

from ds2cli.archive import matrix_shape
from ds2cli.config.features import FeatureConfig
from ds2cli.drops import no_utterances
from ds2cli.errors import BadUtterance, Ds2Error
from ds2cli.feats import kinds
from ds2cli.manifest_lines import Line
from ds2cli.text.characters import find_invisible

FIELDS = ("text", "speaker", "lang", "sample_rate", "num_frames", "feats")
"""The fields that `measure` asks for."""

STRIDES = (3, 2, 1)
"""Frames per step of the networks that are considered, the fastest first."""

FASTEST = 1.1
"""Highest speed that an utterance is played at in training: it leaves the fewest frames for its text."""

RARE = 10
"""A symbol that occurs less often can hardly be learned."""

NO_NAMES = frozenset(("", "unknown", "none", "null", "nan", "n/a", "?", "-"))
"""What tables have in place of a speaker who is not known."""

TELEPHONE = 8000
"""Sample rate of telephones (Hz)."""

CLOSED_WORDS = 300
CLOSED_REPEATS = 15.0
"""A vocabulary is closed if it has at most this many words, and each occurs this many times on average."""


@dataclass(frozen=True)
class Quantiles:
    """The shortest, 5 %, median, 95 % and the longest of some numbers."""

    low: float
    p5: float
    median: float
    p95: float
    high: float

    @classmethod
    def of(cls, values: array[float]) -> Quantiles:
        """Of at least one number."""
        ordered = sorted(values)
        return cls(*(ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0, 0.05, 0.5, 0.95, 1)))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a manifest has.

    seconds: of audio.  speakers: distinct ones, 0 if none is known.  no_speaker: utterances without one.
    languages, letters, sample_rates: how many utterances (letters: how often) have each; "" and 0 if it is not known.
    found_in: the id of the first utterance with each letter.  words, distinct_words: running words, different words.
    distinct_texts: different texts.  durations: seconds.  rates: characters per second.
    unfit: by stride, utterances whose text does not fit into the steps of the network at the speed `FASTEST`.
    stored: utterances with stored features.  bins: of the features, None if they cannot be read.
    """

    utterances: int
    seconds: float
    durations: Quantiles
    rates: Quantiles
    speakers: int = 0
    no_speaker: int = 0
    languages: Mapping[str, int] = field(default_factory=dict)
    sample_rates: Mapping[int, int] = field(default_factory=dict)
    letters: Mapping[str, int] = field(default_factory=dict)
    found_in: Mapping[str, str] = field(default_factory=dict)
    no_text: int = 0
    words: int = 0
    distinct_words: int = 0
    distinct_texts: int = 0
    unfit: Mapping[int, int] = field(default_factory=dict)
    stored: int = 0
    bins: int | None = None

    @property
    def minutes(self) -> float:
        """Minutes of audio."""
        return self.seconds / 60

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return self.seconds / 3600

    @property
    def is_closed(self) -> bool:
        """Whether it has few words, each many times: commands, digits, letters."""
        return self.distinct_words <= CLOSED_WORDS and self.words >= CLOSED_REPEATS * self.distinct_words

    @property
    def has_one_speaker(self) -> bool:
        """Whether all utterances are known to be of one speaker."""
        return self.speakers == 1 and not self.no_speaker

    def rare_letters(self) -> list[str]:
        """Symbols that hardly occur, the rarest first."""
        return sorted((c for c, n in self.letters.items() if n < RARE and c != " "), key=lambda c: (self.letters[c], c))

    def suspicious_letters(self) -> dict[str, str]:
        """Characters that are rarely spoken as they are written, and why."""
        cased = [c for c in self.letters if c.isupper()] if any(c.islower() for c in self.letters) else []
        scripts = Counter[str]()
        for c, n in self.letters.items():
            if c.isalpha():
                scripts[_script(c)] += n
        found: dict[str, str] = {}
        for c in sorted(self.letters):
            kind = unicodedata.category(c)
            if c.isdigit():
                found[c] = "a digit"
            elif find_invisible(c) or kind == "Cc":
                found[c] = "invisible"
            elif c in cased:
                found[c] = "a capital beside small letters"
            elif kind[0] in "PS" and c not in "'’-":
                found[c] = "punctuation or a sign"
            elif c.isalpha() and len(scripts) > 1 and scripts[_script(c)] < 0.01 * scripts.total():
                found[c] = f"{_script(c).capitalize()}, another script than nearly all letters"
        return found


def measure(lines: Iterable[Line], features: FeatureConfig | None = None, name: str = "IN") -> Facts:
    """Read the rows once.

    lines: with the values of `FIELDS`, paths relative to the current folder.
    features: of rows without stored ones; None: the default ones, at the sample rate that suits the recordings.
    DataError if there is no row, Ds2Error if none has a text.
    """
    durations, rates = array("d"), array("d")
    languages, sample_rates, letters, words = Counter[str](), Counter[int](), Counter[str](), Counter[str]()
    speakers, texts, found_in, unfit = set[Any](), set[int](), dict[str, str](), Counter[int]()
    counts, ref, given = Counter[str](), "", features or FeatureConfig()
    for line in lines:
        text, speaker, lang, rate, frames, feats = line.values
        seconds = line.duration if not math.isnan(line.duration) else (frames or 0) * given.hop_ms / 1000
        durations.append(seconds)
        languages[str(lang or "")] += 1
        sample_rates[int(rate or 0)] += 1
        known = str(speaker or "").strip().lower() not in NO_NAMES
        counts["speaker"] += not known
        speakers.update([speaker] * known)
        counts["stored"] += bool(feats)
        ref = ref or feats or ""
        text = " ".join(text.split()) if isinstance(text, str) else ""
        if not text:
            counts["text"] += 1
            continue
        letters.update(text)
        for c in set(text).difference(found_in):
            found_in[c] = line.id
        words.update(text.split())
        texts.add(hash(text))
        if seconds:
            rates.append(len(text) / seconds)
            needed = len(text) + sum(map(eq, text, text[1:]))
            fastest = _frames_at_speed(seconds, frames, given)
            unfit.update(stride for stride in STRIDES if needed > -(-fastest // stride))
    if not durations:
        raise no_utterances(name)
    if not texts:
        raise Ds2Error(f"{name}: no utterance has a text, expected the transcripts of a training set (ds2 prepare)")
    if features is None:
        given = replace(given, sample_rate=choose_sample_rate(sample_rates))
    return Facts(
        utterances=len(durations),
        seconds=math.fsum(durations),
        durations=Quantiles.of(durations),
        rates=Quantiles.of(rates or array("d", [0.0])),
        speakers=len(speakers),
        no_speaker=counts["speaker"],
        languages=dict(languages.most_common()),
        sample_rates=dict(sample_rates.most_common()),
        letters=dict(letters),
        found_in=found_in,
        no_text=counts["text"],
        words=words.total(),
        distinct_words=len(words),
        distinct_texts=len(texts),
        unfit={stride: unfit[stride] for stride in STRIDES},
        stored=counts["stored"],
        bins=_find_bins(ref, given),
    )


def choose_sample_rate(counts: Mapping[int, int]) -> int:
    """The sample rate of the features: 8000 Hz if nearly all recordings have no more, else 16000.

    counts: how many recordings have each rate; 0: unknown.
    """
    known = {rate: n for rate, n in counts.items() if rate}
    low = sum(n for rate, n in known.items() if rate <= TELEPHONE)
    return TELEPHONE if known and low >= 0.9 * sum(known.values()) else FeatureConfig.sample_rate


def _frames_at_speed(seconds: float, frames: int | None, features: FeatureConfig) -> int:
    """Frames of an utterance at the speed `FASTEST`. frames: of its stored features, if it has some."""
    if frames:
        return int(frames / FASTEST)
    return kinds.num_frames(int(seconds * features.sample_rate / FASTEST), features)


def _find_bins(ref: str, features: FeatureConfig) -> int | None:
    """Bins of the stored features `ref`, or of those that will be computed; None if they cannot be read."""
    if not ref:
        return kinds.num_bins(features)
    try:
        return matrix_shape(ref)[1]
    except (BadUtterance, Ds2Error, OSError, ValueError):
        return None


def _script(c: str) -> str:
    """The first word of a letter's Unicode name: LATIN, CYRILLIC, CJK, …; that of the other Japanese scripts is CJK."""
    script = unicodedata.name(c, "UNKNOWN").partition(" ")[0]
    return "CJK" if script in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else script
