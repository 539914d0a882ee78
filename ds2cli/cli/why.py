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
    """Tell what became of an utterance in each stage: kept with what, or dropped and why.

    The outputs in DIR, and those that they were made from, are searched for the id, and for those of its copies at
    other speeds, of its channels and of its segments.

    Example: ds2 why 1272-128104-0000 exp/base
    """
    from ds2cli.errors import Ds2Error
    from ds2cli.stages.lineage import trace
    from ds2cli.stages.why import tell

    found = False
    for chapter in tell(utterance, trace(places or ["."])):
        found = True
        name = "" if chapter.id == utterance else f" {chapter.id}"
        ui.echo_data(f"{chapter.output.path} ({chapter.output.stage}){name}")
        for line in chapter.lines:
            ui.echo_data(f"    {ui.one_line(line, 'utf-8')}")
    if not found:
        raise Ds2Error(
            f"why: {utterance!r} is in none of these outputs, and none has dropped it (ds2 status lists them)"
        )
