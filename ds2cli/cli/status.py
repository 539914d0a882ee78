"""`ds2 status`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from ds2cli import ui


def status(
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="DIR…", help="Folders, or outputs [default: the current folder]."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with status 1 unless everything is fresh.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="List only what is not fresh.")] = False,
) -> None:
    """Show which outputs are fresh, stale, partial or missing, and what has changed.

    Each command saves what its output was made from in OUT.config.toml. An output is stale if the content of an input
    has changed since, or that of a --config file in more than comments, if an input was made again with other settings,
    or is stale itself; a newer time of a file does not matter. It is partial if a command was interrupted, which the
    same command continues, or if archives are missing that it refers to.

    With --if-stale, commands make only what is not fresh; the recipes do so with --resume true.

    Example: ds2 status egs/librispeech

    Example: ds2 status data/train.feats.jsonl --check && echo fresh
    """
    from ds2cli.errors import Ds2Error
    from ds2cli.stages.status import STATES, find_status

    counts: Counter[str] = Counter()
    for found in find_status(places or ["."]):
        counts[found.state] += 1
        if stale and found.state == "fresh":
            continue
        ui.echo_data(f"{found.state:8} {found.out}  ({found.stage})")
        for reason in found.reasons:
            ui.echo_data(f"{'':8}   {reason}")
        if found.reasons and found.command:
            ui.echo_data(f"{'':8}   $ {found.command}")
    ui.echo(", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no outputs with a record")
    if check and counts.total() != counts["fresh"]:
        raise Ds2Error(f"status: {counts.total() - counts['fresh']} of {counts.total()} outputs are not fresh")
