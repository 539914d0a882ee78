"""`ds2 ledger`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from ds2cli import ui


def ledger(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="DIR…", help="Folders, or outputs [default: the current folder].")
    ] = None,
    reasons: Annotated[bool, typer.Option("--reasons", help="Also list why utterances were dropped.")] = False,
) -> None:
    """Account for all utterances: in = kept + dropped + not selected, in each stage and over all stages.

    The stages are those of the outputs in DIR, and those that their inputs come from, in order. A copy at another speed
    counts as an utterance of its own: what was dropped before counts once per copy. Exit status 1 if utterances are
    unaccounted for, because a manifest was changed by something other than ds2.

    Example: ds2 ledger exp/base --reasons
    """
    from ds2cli.errors import DataError, Ds2Error
    from ds2cli.stages.ledger import find_targets, make_balance, make_entries
    from ds2cli.stages.lineage import trace

    outputs = trace(places or ["."])
    entries = make_entries(outputs)
    if not entries:
        raise DataError(f"{' '.join(places or ['.'])}: no outputs with a record of their utterances")
    rows, faults = [], []
    for entry in entries:
        copies = f" x {entry.copies}" if entry.copies > 1 else ""
        counts = (entry.total, entry.kept, entry.dropped.total(), entry.not_selected.total())
        rows.append([*map(str, counts), f"{entry.stage}{copies}", entry.out])
        if not entry.reconciles:
            faults.append(f"{entry.out}: {entry.total} in, but its inputs have {entry.expected}")
    ui.table("", ["in", "kept", "dropped", "not selected", "stage", "output"], rows, to_stdout=True)
    if reasons:
        for entry in entries:
            for reason, count in [*_sorted(entry.dropped), *_sorted(entry.not_selected)]:
                ui.echo(f"{count:>8}  {reason}  ({entry.stage} {entry.out})")
    for target in find_targets(outputs):
        balance = make_balance(target)
        dropped, not_selected = balance.dropped.total(), balance.not_selected.total()
        left = f" + {not_selected} not selected" if not_selected else ""
        ui.echo(f"{balance.out}: {balance.total} in = {balance.kept} kept + {dropped} dropped{left}")
        if not balance.reconciles:
            missing = balance.total - balance.kept - dropped - not_selected
            faults.append(f"{balance.out}: {missing} of {balance.total} utterances are unaccounted for")
    for fault in faults:
        ui.warn(fault)
    if faults:
        sums = f"{len(faults)} sum{'s' * (len(faults) > 1)} with unaccounted utterances"
        raise Ds2Error(f"ledger: {sums} (ds2 status shows what has changed)")


def _sorted(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
