"""`ds2 why UTT`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import ui


def why(
    utterance: Annotated[str, typer.Argument(metavar="UTT", help="Id of the utterance.")],
    places: Annotated[
        list[str] | None, typer.Argument(metavar="DIR…", help="Folders, or outputs [default: the current folder].")
    ] = None,
) -> None:
    """Show what became of an utterance in each stage: what it was kept with, or why it was dropped.

    The outputs in DIR, and those that they were made from, are searched for the id, and for those of its copies at
    other speeds, of its channels and of its segments.

    Example: ds2 why 1272-128104-0000 exp/base
    """
    from ds2cli.errors import Ds2Error
    from ds2cli.stages.explain_utterance import explain_utterance
    from ds2cli.stages.lineage import trace

    found = False
    for finding in explain_utterance(utterance, trace(places or ["."])):
        found = True
        name = "" if finding.id == utterance else f" {finding.id}"
        ui.echo_data(f"{finding.output.path} ({finding.output.stage}){name}")
        for line in finding.lines:
            ui.echo_data(f"    {ui.one_line(line, 'utf-8')}")
    if not found:
        raise Ds2Error(
            f"why: {utterance!r} is in none of these outputs, and none has dropped it (ds2 status lists them)"
        )
