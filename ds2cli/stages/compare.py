"""Join the results of several systems, and compare them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ds2cli import manifest
from ds2cli.config.base import MADE_BY
from ds2cli.config.score import ScoreConfig
from ds2cli.errors import DataError
from ds2cli.manifest import Row
from ds2cli.metrics.certificate import HYPOTHESES, NORMALIZER, REFERENCES, TextHash
from ds2cli.metrics.comparison import Comparison
from ds2cli.metrics.normalizers import Normalizer
from ds2cli.stages.score import CHUNK, create_aligner
from ds2cli.transcripts.score_json import FIRST_LINE

CERTIFICATE = "certificate"
SPEAKER = "speaker"


@dataclass(frozen=True)
class Joined:
    """An utterance of all systems.

    hyps: of each system, None where there is none.  group: what is resampled, or the speaker.
    """

    id: str
    ref: str
    hyps: Sequence[str | None]
    group: str | None


@dataclass
class Differing:
    """What was counted while the systems were joined.

    missing: utterances without a hypothesis of each system.  left_out: utterances of --mode present.
    references: utterances with different references, with --force.  first: the first of these.
    """

    missing: list[int]
    left_out: int = 0
    references: int = 0
    first: str | None = None


def create_comparison(config: ScoreConfig, names: Sequence[str], counted: str = "normalizer none") -> Comparison:
    """An empty comparison of systems; DataError if the tokenizer cannot be opened. counted: see `Comparison`."""
    return Comparison(
        names,
        "word" if config.unit == "both" else config.unit,
        create_aligner(config),
        config.resample,
        SPEAKER if config.resample == "id" else config.resample,
        counted,
        config.draws,
        config.seed,
    )


def join_systems(
    config: ScoreConfig, systems: Sequence[Iterable[Row]], names: Sequence[str], differing: Differing
) -> Iterator[Joined]:
    """Join the rows of K systems by id, in one pass and constant memory.

    DataError for different references without `config.force`, which scores all systems against those of the first
    system that has the utterance; for an utterance that a system does not have at all, unless `config.force` (all its
    words count as deleted) or `config.mode` is `present` (it is left out); for a row without hypothesis if the mode is
    `strict`; and for an utterance without the field `config.resample`.
    """
    for found in manifest.join_all(systems):
        rows = {k: row for k, row in enumerate(found) if row is not None}
        first = min(rows)
        name = rows[first]["id"]
        if len(rows) < len(systems) and config.mode != "present" and not config.force:
            without = next(k for k in range(len(systems)) if k not in rows)
            raise DataError(
                f"utterance {name!r} of {names[first]} is not in {names[without]}: expected decodings of the same "
                "test set (--mode present compares the utterances that all have, --ref FILE counts the words of those "
                "without a hypothesis as deleted, --force too)"
            )
        refs = {k: row["text"].split() for k, row in rows.items()}
        other = next((k for k in refs if refs[k] != refs[first]), None)
        if other is not None:
            if not config.force:
                raise DataError(
                    f"utterance {name!r} has different references: {rows[first]['text'][:60]!r} in {names[first]}, "
                    f"{rows[other]['text'][:60]!r} in {names[other]}: expected decodings of the same test set "
                    f"(--normalizer removes differences of writing, --force scores both against {names[first]})"
                )
            differing.references += 1
            differing.first = differing.first or name
        hyps = [rows.get(k, {}).get("pred_text") for k in range(len(systems))]
        absent = [k for k, hyp in enumerate(hyps) if hyp is None]
        if absent and config.mode == "strict":
            raise DataError(
                f"utterance {name!r} has no pred_text in {names[absent[0]]}, which --mode strict refuses (--mode all)"
            )
        for k in absent:
            differing.missing[k] += 1
        if absent and config.mode == "present":
            differing.left_out += 1
            continue
        yield Joined(name, rows[first]["text"], hyps, _find_group(config, name, rows.values()))


def _find_group(config: ScoreConfig, name: str, rows: Iterable[Row]) -> str | None:
    field_name = SPEAKER if config.resample == "id" else config.resample
    value = next((row[field_name] for row in rows if row.get(field_name) is not None), None)
    if value is None and config.resample != "id":
        raise DataError(f"utterance {name!r} has no field {field_name!r}, which --resample {field_name} needs")
    return None if value is None else str(value)


@dataclass
class Hashes:
    """The hashes of the references and of the hypotheses of each system, as they are compared."""

    references: TextHash
    hypotheses: Sequence[TextHash] = field(default_factory=list)

    def as_fields(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The certificate of the comparison."""
        return {REFERENCES: self.references.hex(), HYPOTHESES: [text.hex() for text in self.hypotheses], **settings}


def run(comparison: Comparison, utterances: Iterable[Joined]) -> tuple[Iterator[Joined], Hashes]:
    """Add utterances to the comparison as they are taken from the result, chunk by chunk; and hash them."""
    hashes = Hashes(TextHash(), [TextHash() for _ in comparison.names])

    def add() -> Iterator[Joined]:
        source = iter(utterances)
        while chunk := list(islice(source, CHUNK)):
            refs = [u.ref for u in chunk]
            hyps = [[u.hyps[k] or "" for u in chunk] for k in range(len(comparison.names))]
            comparison.add(refs, hyps, [u.group for u in chunk])
            hashes.references.add([(u.id, u.ref) for u in chunk])
            for k, texts in enumerate(hashes.hypotheses):
                texts.add([(u.id, u.hyps[k]) for u in chunk])
            yield from chunk

    return add(), hashes


def read_certificate(path: str) -> dict[str, Any] | None:
    """The certificate of a result: of a score in JSON, or in PATH.score.json or PATH.config.toml beside a manifest."""
    for file in (path, f"{path}.score.json"):
        if (certificate := _read_json_certificate(Path(file))) is not None:
            return certificate
    with suppress(OSError, ValueError):
        settings = tomllib.loads(Path(f"{path}.config.toml").read_text("utf-8"))
        return _as_certificate(settings.get(MADE_BY))
    return None


def _read_json_certificate(file: Path) -> dict[str, Any] | None:
    """The field of a score in JSON, which has each of its fields on a line of its own."""
    # ValueError: not JSON, not UTF-8, or no possible name of a file
    with suppress(OSError, ValueError):
        if file.is_file():
            with file.open(encoding="utf-8") as f:
                if next(f, "").strip() == FIRST_LINE:
                    line = next((line for line in f if line.startswith(f'"{CERTIFICATE}":')), "")
                    return _as_certificate(json.loads(f"{{{line.strip().removesuffix(',')}}}"))
    return None


def _as_certificate(fields: Any) -> dict[str, Any] | None:
    certificate = fields.get(CERTIFICATE) if isinstance(fields, dict) else None
    return certificate if isinstance(certificate, dict) else None


def require_equal_normalizers(
    config: ScoreConfig, names: Sequence[str], certificates: Sequence[Mapping[str, Any] | None], normalizer: Normalizer
) -> None:
    """DataError if two results were scored with different normalizers, without `config.force`.

    A result without a certificate counts as not normalized. normalizer: what the comparison itself applies to all of
    them, so that results that were not normalized equal those that it had normalized before.
    """
    descriptions = [str((fields or {}).get(NORMALIZER, "none")) for fields in certificates]
    hashes = [
        normalizer.identity if description == "none" else str((fields or {}).get(f"{NORMALIZER}_hash"))
        for description, fields in zip(descriptions, certificates, strict=True)
    ]
    other = next((k for k, value in enumerate(hashes) if value != hashes[0]), None)
    if other is None or config.force:
        return
    fix = "score both with one --normalizer"
    if config.normalizer == "none" and "none" in (pair := [descriptions[0], descriptions[other]]):
        name = next(description for description in pair if description != "none").partition(" ")[0]
        fix = f"--normalizer {name} normalizes both"
    raise DataError(
        f"{names[0]} and {names[other]} were scored with different normalizers, {descriptions[0]} and "
        f"{descriptions[other]}: {fix} (--force compares them anyway)"
    )
