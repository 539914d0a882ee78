"""What became of one utterance: its recording, what each stage made of it, or where and why it was dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import io, manifest
from ds2cli.archive import read_matrix
from ds2cli.audio.read import probe
from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.metrics.alignment import align
from ds2cli.metrics.wer import words
from ds2cli.stages.lineage import Output, find_sources
from ds2cli.train.losses import read_losses

CLIPPED, SILENT_DB = 0.999, -60.0
"""Samples from this magnitude on count as clipped; recordings below this level as silent (dBFS)."""


MOST_LOSSES = 10
"""Epochs whose losses are listed."""


@dataclass(frozen=True)
class Finding:
    """What one output has of an utterance. id: there, such as sp0.9-ID.  lines: sentences about it.

    dropped: whether the stage dropped it.
    """

    output: Output
    id: str
    lines: tuple[str, ...]
    dropped: bool = False


def explain_utterance(utterance: str, outputs: Iterable[Output]) -> Iterator[Finding]:
    """A finding for each output that has the utterance or dropped it, in the order of the outputs.

    What the finding of an output says is not repeated for those that were made from it.
    """
    is_same, said = id_matcher(utterance), dict[tuple[str, str], list[str]]()
    recording_shown = False
    for output in outputs:
        found = False
        path = output.path if Path(output.path).is_file() else None
        if path is not None and re.search(r"\.jsonl(\.gz)?$", path):
            for row in find_rows(path, utterance, is_same):
                lines = [*describe_fields(row)]
                if not recording_shown and row.get("audio_filepath"):
                    lines = [*describe_recording(row), *lines]
                    recording_shown = True
                sources = find_sources(output)
                new = [line for line in lines if sources.isdisjoint(said.get((row["id"], line), ()))]
                for line in new:
                    said.setdefault((row["id"], line), []).append(output.path)
                found = True
                yield Finding(output, row["id"], tuple(new or ["kept"]))
        if Path(output.path).is_dir():
            yield from _training(utterance, output, is_same)
        if output.dropped_list is not None and Path(output.dropped_list).is_file():
            for row in find_rows(output.dropped_list, utterance, is_same):
                reason = f"{row.get('reason')}: {row.get('detail')}"
                found = True
                yield Finding(output, row["id"], (f"dropped: {reason}",), dropped=True)
        if not found and (reasons := output.record.get("not_selected")):
            yield from _not_selected(utterance, output, is_same, list(reasons))


def id_matcher(utterance: str) -> re.Pattern[str]:
    """Matches the id of an utterance, of its copies at other speeds, of its channels and of its segments."""
    return re.compile(rf"(sp[\d.]+-)?{re.escape(utterance)}(-ch\d+)?(-\d{{6,}}(-\d{{6,}})?)?")


def find_rows(path: str, utterance: str, is_same: re.Pattern[str]) -> Iterator[Row]:
    """The rows of a manifest, or of a list of dropped utterances, whose id matches; bad rows are passed over."""
    part = json.dumps(utterance, ensure_ascii=False)[1:-1]
    folder = manifest.base_folder(path)
    for _, line in io.read_lines(path):
        if part not in line:
            continue
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str) and is_same.fullmatch(row["id"]):
            yield manifest.rebase_paths(row, folder)


def describe_recording(row: Row) -> Iterator[str]:
    """The recording of a row as it is now: format, level, and what is wrong with it."""
    recording = parse_recording(row)
    if recording is None:
        return
    try:
        info = probe(recording.path, decode=False)
        x = read_samples(recording, info.sample_rate)
    except BadUtterance as e:
        yield f"recording {recording.path}: {e.reason}: {e.detail}"
        return
    part = "" if recording.offset_s is None else f", from {recording.offset_s:g} s"
    channel = "" if recording.channel is None else f", channel {recording.channel}"
    power = float(np.mean(np.square(x, dtype=np.float64)))
    level = 10 * np.log10(power) if power else -np.inf
    yield (
        f"recording {recording.path}: {len(x) / info.sample_rate:.2f} s{part}{channel}, {info.sample_rate} Hz, "
        f"{info.channels} channel{'s' * (info.channels > 1)}, level {level:.1f} dBFS"
    )
    if level < SILENT_DB:
        yield "the recording is silent"
    if clipped := float(np.mean(np.abs(x) >= CLIPPED)):
        yield f"{100 * clipped:.2f} % of the samples are clipped"


def describe_fields(row: Row) -> Iterator[str]:
    """What a row says of its utterance, in the order of the stages."""
    text = row.get("text")
    if isinstance(text, str):
        rate = f", {len(text) / row['duration']:.1f} characters/s" if row.get("duration") else ""
        yield f"text: {text!r}{rate}"
    if row.get("feats"):
        yield _describe_matrix(row, "feats", "features", "frames")
    if row.get("emission"):
        yield _describe_matrix(row, "emission", "emission", "steps")
    if "align_logprob" in row:
        steps = row.get("num_steps") or row.get("num_frames") or 1
        yield f"aligned: log-probability {row['align_logprob']:.1f} nats ({row['align_logprob'] / steps:.3f} per step)"
        unsure = [w for w in row.get("words", []) if w.get("conf") is not None and w["conf"] < 0.5]
        if unsure:
            yield f"words that the network is not sure of: {', '.join(_timed(w) for w in unsure[:10])}"
    if "ctc_cost" in row:
        yield f"CTC cost {row['ctc_cost']:.1f} nats"
    if "pred_text" in row:
        yield f"hypothesis: {row['pred_text']!r}"
        if isinstance(text, str):
            yield describe_errors(words(text), words(row["pred_text"]))
    if "hits" in row:
        total = row["hits"] + row["subs"] + row["dels"]
        errors = row["subs"] + row["ins"] + row["dels"]
        yield f"scored: {errors} errors in {total} words ({row['subs']} sub, {row['ins']} ins, {row['dels']} del)"


def describe_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """The word errors of a hypothesis, such as `errors: two → too, -of, +the`."""
    errors = []
    for ref, hyp in align(reference, hypothesis):
        if ref != hyp:
            errors.append(f"-{ref}" if hyp is None else f"+{hyp}" if ref is None else f"{ref} → {hyp}")
    return f"errors: {', '.join(errors)}" if errors else "no word errors"


def _describe_matrix(row: Row, field: str, name: str, unit: str) -> str:
    try:
        x = read_matrix(row[field], row["id"])
    except BadUtterance as e:
        return f"{name}: {e.reason}: {e.detail}"
    return f"{name}: {len(x)} {unit}, {row[field]}"


def _not_selected(utterance: str, output: Output, is_same: re.Pattern[str], reasons: list[str]) -> Iterator[Finding]:
    """The rows of the inputs that the stage left out by its conditions: it counts them, but lists none."""
    for role, path, _ in output.inputs:
        if role.partition(" ")[0] == "IN" and Path(path).is_file():
            for row in find_rows(path, utterance, is_same):
                yield Finding(output, row["id"], (f"not selected: {' or '.join(reasons)}",))


def _training(utterance: str, output: Output, is_same: re.Pattern[str]) -> Iterator[Finding]:
    """What training made of the utterance and of its copies: epochs in which it was skipped, its losses."""
    skipped: dict[str, list[str]] = {}
    log = Path(output.path, "train.jsonl")
    for row in (json.loads(line) for line in log.read_text("utf-8").splitlines()) if log.is_file() else ():
        for name, reason in row.get("skipped", {}).items():
            if is_same.fullmatch(name):
                skipped.setdefault(name, []).append(f"epoch {row['epoch']}: skipped: {reason}")
    losses = read_losses(output.path)
    places = {name: i for i, name in enumerate(losses.ids if losses else ()) if is_same.fullmatch(name)}
    for name in sorted({*skipped, *places}):
        lines = list(skipped.get(name, ()))
        if losses is not None and name in places:
            lines.append(describe_losses(losses.nats[:, places[name]]))
        yield Finding(output, name, tuple(lines))


def describe_losses(nats: NDArray[np.float32]) -> str:
    """The losses of an utterance in each epoch: `seen in 16 epochs: loss 312.10, 250.01, … 4.20 nats`."""
    seen = [f"{x:.2f}" for x in nats if np.isfinite(x)]
    if not seen:
        return f"not seen in {len(nats)} epochs"
    shown = seen if len(seen) <= MOST_LOSSES else [*seen[: MOST_LOSSES - 3], "…", *seen[-2:]]
    return f"seen in {len(seen)} epoch{'s' * (len(seen) > 1)}: loss {', '.join(shown)} nats"


def _timed(word: dict[str, Any]) -> str:
    return f"{word.get('word')} ({word.get('start', 0):.2f} s, {word.get('conf'):.2f})"
