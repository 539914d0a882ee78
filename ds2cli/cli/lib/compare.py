"""`ds2 score --compare`: open the results, show progress, print the comparison and write it as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from ds2cli import __version__, ui
from ds2cli.cli.lib.filter import count_lines, source_name
from ds2cli.config.score import ScoreConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.io import open_out, require_writable

if TYPE_CHECKING:
    from ds2cli.stages.compare import Differing


def compare(config: ScoreConfig, paths: list[str]) -> None:
    """Compare the systems whose results `paths` are, print the comparison, and write it to `config.json` if set."""
    from ds2cli.metrics.normalizers import create_normalizer
    from ds2cli.stages import compare as stage
    from ds2cli.stages.score import normalize_texts, open_rows

    _check_paths(config, paths)
    if config.json is not None:
        require_writable(config.json)
    files = [source_name(path) for path in paths]
    names = _shorten(files)
    certificates = [stage.read_certificate(path) for path in paths]
    normalizer, unreadable = create_normalizer(config.normalizer, config.lang), list[str]()
    stage.require_equal_normalizers(config, files, certificates, normalizer)
    comparison = stage.create_comparison(config, names, f"normalizer {normalizer.description}")
    differing = stage.Differing([0] * len(paths))
    rows = [normalize_texts(open_rows(config, path), normalizer, config.lang, unreadable) for path in paths]
    utterances, hashes = stage.run(comparison, stage.join_systems(config, rows, files, differing))
    for _ in ui.progress(utterances, "compare", count_lines(paths[0])):
        pass
    if not comparison.utterances:
        left_out = f": all {differing.left_out} lack a hypothesis of a system" if differing.left_out else ""
        raise DataError(f"{', '.join(files)}: no utterances to compare{left_out}")
    for file, missing in zip(files, differing.missing, strict=True):
        if missing == comparison.utterances:
            raise DataError(f"{file}: no utterance has pred_text: expected the rows of ds2 decode")
    for line in comparison.lines():
        ui.echo(line)
    _warn(config, files, differing, unreadable)
    if config.json is not None:
        settings: dict[str, Any] = {
            "normalizer": normalizer.description,
            "normalizer_hash": normalizer.identity,
            "mode": config.mode,
            "ds2cli": __version__,
            "command": shlex.join(["ds2", *sys.argv[1:]]),
        }
        fields = {"certificate": hashes.as_fields(settings), "files": files, **comparison.as_fields()}
        text = json.dumps(fields, ensure_ascii=False, indent=1, allow_nan=False)
        with open_out(config.json) as f:
            # a byte of a file name that is not UTF-8
            f.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def _shorten(files: list[str]) -> list[str]:
    """The files without the folders that all of them are in."""
    parts = [file.split("/") for file in files]
    shared = 0
    while len({tuple(p[: shared + 1]) for p in parts}) == 1 and all(len(p) > shared + 1 for p in parts):
        shared += 1
    return ["/".join(p[shared:]) for p in parts]


def _check_paths(config: ScoreConfig, paths: list[str]) -> None:
    if len(paths) < 2:
        raise UsageError(
            f"--compare: expected the results of two or more systems, got {len(paths)} (ds2 score --compare A B)"
        )
    if [*paths, config.ref].count("-") > 1:
        raise UsageError("--compare: only one of the results and --ref can be read from standard input")
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"--compare: {path} is given twice")


def _warn(config: ScoreConfig, files: list[str], differing: Differing, unreadable: list[str]) -> None:
    """Warn about utterances that were not compared as they are."""
    if config.mode == "all":
        for file, missing in zip(files, differing.missing, strict=True):
            if missing:
                ui.warn(f"{file}: utterances without pred_text: {missing}: all their words count as deleted")
    if differing.left_out:
        ui.warn(f"utterances without pred_text in at least one system: {differing.left_out}: left out (--mode present)")
    if differing.references:
        ui.warn(
            f"utterances with different references: {differing.references}, such as {differing.first}: all systems are "
            "scored against the reference of the first system that has the utterance (--force)"
        )
    if unreadable:
        ui.warn(
            "--normalizer: utterances with digits, tags or signs that can be read in several ways: "
            f"{len(set(unreadable))}, such as {unreadable[0]}: compared as they are written (write them as spoken)"
        )
