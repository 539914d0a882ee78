"""`ds2 rover IN IN… OUT`."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import count_lines, first_row, require_rows, source_name, write_rows
from ds2cli.cli.lib.options import with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.rover import RoverConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError


@with_config(RoverConfig)
def rover(
    config: RoverConfig,
    files: Annotated[
        list[str],
        typer.Argument(metavar="IN IN… OUT", help="Decodings of the same rows, best system first, then the result."),
    ],
) -> None:
    """Combine decodings of several systems into one text by voting on each word (ROVER).

    The hypotheses are aligned one after another into a word transition network. In each correspondence set the word
    with the highest score wins: alpha · (its share of the votes) + (1 - alpha) · (its confidence). A system without a
    word in a set votes for the null word, which can win too. Ties go to the system named first, but a word wins over
    the null word of earlier systems.

    --method says which confidence counts: `votes` none (alpha is 1), `average` the mean over the systems that voted for
    the word (NIST's -m meth1), `maximum` their highest (-m maxconf), `share` their part of the sum over the set
    (-m avgconf).

    All methods but `votes` need confidences, which `ds2 decode --timestamps` writes; tune --alpha and --null-conf on
    the dev set. A system that lacks an utterance votes for the null word everywhere. Alignment, votes and ties are
    those of NIST's `rover -s` (with --times: -T). NIST's program also cuts an utterance where the first system pauses
    for more than 1 s, or has ended, and all others have a gap between words: its result can differ there.

    Example: ds2 rover exp/a/test.jsonl exp/b/test.jsonl exp/c/test.jsonl test.rover.jsonl && ds2 score test.rover.jsonl
    """
    from ds2cli.metrics.rover import MAX_SYSTEMS
    from ds2cli.stages import rover as stage

    *sources, out = files
    if not 2 <= len(sources) <= MAX_SYSTEMS:
        found = f"{len(files)} files" if len(files) > 9 else ", ".join(files)
        raise UsageError(
            f"rover: expected 2 to {MAX_SYSTEMS} decodings, then OUT (- is standard output), found {found}"
        )
    if "pred_text" in (first_row(out) or {}) and not _is_combined(out):
        raise UsageError(f"rover: OUT {out} is a decoding, and would be replaced (name OUT last; - is standard output)")
    if sources.count("-") > 1:
        raise UsageError("rover: - (standard input) can be given for one input only")
    names = [source_name(source) for source in sources]
    made = begin("rover", config, out, {f"IN {number}": path for number, path in enumerate(sources, start=1)})
    ledgers, counts = [Ledger() for _ in sources], stage.RoverCounts()
    ledger = require_rows(Ledger(source=", ".join(names)), config)
    systems = [manifest.read(source, ledger=own) for source, own in zip(sources, ledgers, strict=True)]
    rows = ui.progress(stage.run(config, names, systems, ledgers, ledger, counts), "rover", count_lines(sources[0]))
    write_rows("rover", config, out, rows, ledger, made=made)
    places = counts.places
    agreement = "".join(
        f", {what} {100 * part / places.total:.1f} %"
        for what, part in (("unanimous", places.unanimous), ("tied", places.ties))
        if places.total
    )
    ui.log(f"rover: {len(sources)} systems, {places.total} correspondence sets{agreement}")
    if len(sources) == 2 and config.method == "votes":
        ui.warn(
            "with two systems every disagreement is a tie: the first system's word wins, and any word wins over none "
            "(--method average uses confidences)"
        )
    if any(counts.missing):
        lacking = ", ".join(f"{n} in {name}" for name, n in zip(names, counts.missing, strict=True) if n)
        ui.warn(
            f"utterances without a hypothesis: {lacking} (of {ledger.kept}): the system votes for the null word there"
        )


def _is_combined(path: str) -> bool:
    """Whether a file was written by this command."""
    with contextlib.suppress(OSError, ValueError), open(f"{path}.config.toml", encoding="utf-8") as f:  # noqa: PTH123
        return any(line.startswith('command = "ds2 rover ') for line in f)
    return False
