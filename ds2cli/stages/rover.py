"""Combine the decodings of several systems into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ds2cli import manifest
from ds2cli.config.rover import RoverConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.manifest import Row
from ds2cli.metrics.rover import Hypothesis, Places, VotedWord, VoteRule, combine
from ds2cli.metrics.wer import words
from ds2cli.transcripts.scored import DECODED

HYPOTHESIS_FIELDS = (*DECODED, "hits", "subs", "ins", "dels")
"""Fields that describe the hypothesis of one system."""

CHUNK = 256
"""Utterances that are combined at once."""

Found = list[Row | None]
"""The rows of one utterance, in the order of the systems."""


@dataclass
class RoverCounts:
    """What a run has seen.

    missing: for each system, the utterances for which it has no hypothesis.
    shared: those for which it and another system have one.
    """

    missing: list[int] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    places: Places = field(default_factory=Places)


def run(
    config: RoverConfig,
    names: Sequence[str],
    systems: Sequence[Iterable[Row]],
    ledgers: Sequence[Ledger],
    ledger: Ledger,
    counts: RoverCounts,
) -> Iterator[Row]:
    """Yield a row for each utterance of any system: that of the first system with it, with the combined `pred_text`.

    It has `pred_words` (`word`, `votes`, and the average `start`, `end` and `conf`) if those of all systems have
    confidences or times, and with confidences `pred_conf`, their mean. A system that lacks the utterance, or its
    `pred_text`, votes for the empty word everywhere.
    names: of the systems, for messages.  systems: their rows, sorted by id; each is read with its own of `ledgers`.
    ledger: gets an utterance that was dropped from any of them, or that no system has a hypothesis for.
    Drops "no-pred-text", "no-conf", "no-times". DataError if two systems have different references of an utterance.
    Ds2Error at the end if a system has no utterance in common with another.
    """
    counts.missing, counts.shared = [0] * len(systems), [0] * len(systems)
    rule = VoteRule(config.method, config.alpha, config.null_conf, config.times)
    utterances = _usable(_leave_out_dropped(manifest.join_all(systems), ledgers, ledger), names, rule, ledger, counts)
    while chunk := list(islice(utterances, CHUNK)):
        combined = combine([hypotheses for _, hypotheses in chunk], rule, counts.places)
        for (row, hypotheses), voted in zip(chunk, combined, strict=True):
            yield _combined_row(row, hypotheses, voted)
    alone = [name for name, shared in zip(names, counts.shared, strict=True) if not shared]
    if alone and any(counts.missing):
        raise Ds2Error(
            f"rover: refused: no utterance of {alone[0]} has a hypothesis of another system, "
            "expected decodings of the same rows"
        )


def _leave_out_dropped(utterances: Iterable[Found], ledgers: Sequence[Ledger], ledger: Ledger) -> Iterator[Found]:
    """The utterances of which no row was dropped in reading; each of the others is counted once."""
    dropped = set[str]()

    def move_drops() -> None:
        for own in ledgers:
            for entry in own.rows:
                if entry["id"] not in dropped:
                    dropped.add(entry["id"])
                    ledger.drop(entry["id"], entry["reason"], entry["detail"])
            own.rows.clear()

    for found in utterances:
        move_drops()
        if not any(row is not None and row["id"] in dropped for row in found):
            yield found
    move_drops()


def _usable(
    utterances: Iterable[Found], names: Sequence[str], rule: VoteRule, ledger: Ledger, counts: RoverCounts
) -> Iterator[tuple[Row, list[Hypothesis]]]:
    """The row of the first system that has the utterance, and the hypotheses of all systems."""
    for found in utterances:
        rows = [row for row in found if row is not None]
        try:
            if not any("pred_text" in row for row in rows):
                raise BadUtterance("no-pred-text", f"none of {', '.join(names)} has a pred_text (ds2 decode)")
            _check_references(found, names)
            hypotheses = [
                read_hypothesis(row, name, rule) if row is not None and "pred_text" in row else None
                for row, name in zip(found, names, strict=True)
            ]
        except BadUtterance as e:
            ledger.drop_error(rows[0]["id"], e)
            continue
        num_found = sum(hypothesis is not None for hypothesis in hypotheses)
        for system, hypothesis in enumerate(hypotheses):
            counts.missing[system] += hypothesis is None
            counts.shared[system] += hypothesis is not None and num_found > 1
        yield rows[0], [Hypothesis(()) if hypothesis is None else hypothesis for hypothesis in hypotheses]


def _check_references(found: Found, names: Sequence[str]) -> None:
    texts = [(name, row) for name, row in zip(names, found, strict=True) if row is not None and "text" in row]
    for name, row in texts[1:]:
        first_name, first = texts[0]
        if row["text"] != first["text"]:
            raise DataError(
                f"utterance {row['id']!r} has different texts in {first_name} and {name}: expected decodings of the "
                f"same rows, found {first['text'][:40]!r} and {row['text'][:40]!r}"
            )


def read_hypothesis(row: Row, name: str, rule: VoteRule) -> Hypothesis:
    """The words of `pred_text`, with the confidences and times of `pred_words` if those are the same words.

    name: of the system, for messages.  BadUtterance "no-conf" or "no-times" if the rule needs what is not there.
    """
    texts = words(row["pred_text"])
    found = row.get("pred_words", [])
    if [word.get("word") for word in found] != texts:
        found = []
    confs = [word.get("conf") for word in found]
    times = [(word.get("start"), word.get("end")) for word in found]
    has_confs = bool(confs) and all(_is_number(conf) and 0 <= conf <= 1 for conf in confs)
    has_times = bool(times) and all(_is_number(start) and _is_number(end) for start, end in times)
    for needed, has, reason in ((rule.needs_confs, has_confs, "conf"), (rule.by_time, has_times, "times")):
        if needed and texts and not has:
            what = "a conf from 0 to 1" if reason == "conf" else "start and end"
            raise BadUtterance(
                f"no-{reason}", f"{name}: expected pred_words with {what} for each word of pred_text (--timestamps)"
            )
    return Hypothesis(texts, confs if has_confs else None, times if has_times else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _combined_row(row: Row, hypotheses: Sequence[Hypothesis], voted: Sequence[VotedWord]) -> Row:
    result = {name: value for name, value in row.items() if name not in HYPOTHESIS_FIELDS}
    result["pred_text"] = " ".join(word.word for word in voted)
    has_confs = all(hypothesis.confs for hypothesis in hypotheses if hypothesis.words)
    has_times = all(hypothesis.times for hypothesis in hypotheses if hypothesis.words)
    if has_confs or has_times:
        result["pred_words"] = [_word_fields(word, has_confs, has_times) for word in voted]
    if has_confs and voted:
        result["pred_conf"] = round(sum(word.conf or 0.0 for word in voted) / len(voted), 4)
    return result


def _word_fields(word: VotedWord, has_confs: bool, has_times: bool) -> dict[str, str | float]:
    fields: dict[str, str | float] = {"word": word.word}
    if has_times:
        assert word.start is not None
        assert word.end is not None
        fields |= {"start": round(word.start, 3), "end": round(word.end, 3)}
    if has_confs:
        assert word.conf is not None
        fields["conf"] = round(word.conf, 4)
    return {**fields, "votes": word.votes}
