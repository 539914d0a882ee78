"""Facts and settings in words: the report of `ds2 recommend`, and the settings as a commented TOML file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ds2cli.config.base import build, parse_toml
from ds2cli.config.describe import toml_value
from ds2cli.config.train import TrainConfig
from ds2cli.encoding import code_point
from ds2cli.recommend.facts import FASTEST, RARE, Facts
from ds2cli.recommend.rule import Setting

MOST_LISTED = 12
"""Languages, symbols or sample rates that a line lists."""

MOST_ALPHABET = 120
"""Symbols of an alphabet that are printed."""


def fact_lines(facts: Facts) -> list[tuple[str, str]]:
    """What is there: pairs of a name and a value."""
    d, r = facts.durations, facts.rates
    lines = [
        ("audio", f"{facts.minutes:.1f} minutes ({facts.hours:.2f} h) in {facts.utterances:,} utterances"),
        ("lengths", f"{d.low:.2f} to {d.high:.2f} s, median {d.median:.2f}, 95 % up to {d.p95:.2f}"),
        ("speakers", _describe_speakers(facts)),
        ("languages", _list_counts({k or "unknown": n for k, n in facts.languages.items()})),
        ("sample rates", _list_counts({f"{k} Hz" if k else "unknown": n for k, n in facts.sample_rates.items()})),
        ("features", f"stored in {facts.stored:,} of {facts.utterances:,} rows" if facts.stored else "not stored"),
        ("texts", f"{facts.words:,} words, {facts.distinct_words:,} different; {_describe_repeats(facts)}"),
        ("rate", f"{r.p5:.1f} to {r.p95:.1f} characters per second (5 to 95 %), highest {r.high:.1f}"),
        ("alphabet", _describe_alphabet(facts)),
    ]
    if facts.no_text:
        lines.append(("without text", f"{facts.no_text:,} utterances"))
    if rare := facts.rare_letters():
        shown = ", ".join(f"{_show(c)} {facts.letters[c]} (in {facts.found_in[c]})" for c in rare[:MOST_LISTED])
        lines.append((f"below {RARE} times", f"{shown}{_more(rare)}: too rare to be learned"))
    if odd := facts.suspicious_letters():
        listed = [f"{_show(c)} {why} (in {facts.found_in[c]})" for c, why in odd.items()]
        lines.append(("suspicious", f"{', '.join(listed[:MOST_LISTED])}{_more(listed)}: look at it, or ds2 data fix"))
    fits = [f"{n} at a stride of {stride}" for stride, n in facts.unfit.items()]
    lines.append(
        (
            "too short",
            f"of {facts.utterances:,} utterances, too few steps for their texts when spoken {FASTEST:g} times as fast: "
            f"{', '.join(fits)}",
        )
    )
    return lines


def setting_lines(settings: Iterable[Setting]) -> Iterator[tuple[str, str]]:
    """The settings that were chosen with a reason: pairs of `model.cell = "gru"` and the reason."""
    for name, value, reason in settings:
        if reason:
            yield f"{name} = {toml_value(value)}", reason


def to_toml(settings: Sequence[Setting], head: Iterable[str]) -> str:
    """The settings as TOML for `ds2 train --config`. head: the comment at its top, as lines.

    UsageError if `ds2 train` would not take them.
    """
    # names of files may have line feeds in them
    lines = [f"# {''.join(c for c in line if c.isprintable())}" for line in head]
    sections: dict[str, list[Setting]] = {"": []}
    for setting in settings:
        sections.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    for section, members in sections.items():
        lines += ["", f"[{section}]"] if section else []
        for name, value, reason in members:
            comment = f"  # {reason}" if reason else ""
            lines.append(f"{name.rpartition('.')[2]} = {toml_value(value)}{comment}")
    text = "\n".join(lines) + "\n"
    build(TrainConfig, ("ds2 recommend", parse_toml(text.encode(), "ds2 recommend")))
    return text


def _describe_speakers(facts: Facts) -> str:
    if not facts.speakers:
        return "unknown (ds2 prepare folder --speaker, or --speaker-column of a table)"
    missing = f", {facts.no_speaker:,} utterances without one" if facts.no_speaker else ""
    return f"{facts.speakers:,}{missing}"


def _describe_repeats(facts: Facts) -> str:
    texts = facts.utterances - facts.no_text
    kind = "a closed vocabulary" if facts.is_closed else "an open vocabulary"
    return f"{facts.distinct_texts:,} different texts in {texts:,} utterances; {kind}"


def _describe_alphabet(facts: Facts) -> str:
    symbols = sorted(facts.letters)
    shown = "".join(map(_show, symbols[:MOST_ALPHABET]))
    return f"{len(symbols):,} symbols: {shown}{'…' * (len(symbols) > MOST_ALPHABET)}"


def _list_counts(counts: Mapping[str, int]) -> str:
    listed = [f"{name} ({n:,})" for name, n in counts.items()]
    return ", ".join(listed[:MOST_LISTED]) + _more(listed)


def _more(items: Sequence[str]) -> str:
    return f" and {len(items) - MOST_LISTED} more" if len(items) > MOST_LISTED else ""


def _show(c: str) -> str:
    """A character as it is read; the space as ␣, and what cannot be seen by its code point."""
    return "␣" if c == " " else c if c.isprintable() else code_point(c)
