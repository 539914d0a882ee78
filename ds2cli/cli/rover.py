"""`ds2 rover IN IN… OUT`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import count_lines, require_rows, source_name, write_rows
from ds2cli.cli.lib.options import with_config
from ds2cli.config.rover import RoverConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError


@with_config(RoverConfig)
def rover(
    config: RoverConfig,
    files: Annotated[
        list[str],
        typer.Argument(metavar="IN IN… OUT", help="Decodings of the same rows, best one first, then the result."),
    ],
) -> None:
    """Combine decodings of several systems into one text by voting on each word (ROVER).

    The words of the first system are aligned with those of the second, both with those of the third, and so on. In each
    place the word with the highest score wins: alpha · (its share of the votes) + (1 - alpha) · (its confidence). The
    methods: `votes` (alpha is 1), `average` and `maximum` (over its voters), `share` (of all confidence in that place).
    The empty word wins like any other. Ties are won by the system that is named first, but a word that is new to the
    systems before wins over their empty word.

    All methods but `votes` need confidences, which `ds2 decode --timestamps` writes; try values of --alpha and
    --null-conf on the dev set. A system that lacks an utterance votes for the empty word everywhere. Alignment, votes
    and ties are those of NIST's `rover -s` (with --times: -T).

    Example: ds2 rover exp/a/test.jsonl exp/b/test.jsonl exp/c/test.jsonl test.rover.jsonl && ds2 score test.rover.jsonl
    """
    from ds2cli.metrics.rover import MAX_SYSTEMS
    from ds2cli.stages import rover as stage

    *sources, out = files
    if not 2 <= len(sources) <= MAX_SYSTEMS:
        found = ", ".join(files)
        raise UsageError(f"rover: expected 2 to {MAX_SYSTEMS} decodings, then OUT, found {len(sources)}: {found}")
    if sources.count("-") > 1:
        raise UsageError("rover: - can be one of the inputs only, because standard input is read once")
    names = [source_name(source) for source in sources]
    ledgers, counts = [Ledger() for _ in sources], stage.RoverCounts()
    ledger = require_rows(Ledger(source=", ".join(names)), config)
    systems = [manifest.read(source, ledger=own) for source, own in zip(sources, ledgers, strict=True)]
    rows = ui.progress(stage.run(config, names, systems, ledgers, ledger, counts), "rover", count_lines(sources[0]))
    write_rows("rover", config, out, rows, ledger)
    places = counts.places
    agreement = "".join(
        f", {what} {100 * part / places.total:.1f} %"
        for what, part in (("unanimous", places.unanimous), ("tied", places.ties))
        if places.total
    )
    ui.log(f"rover: {len(sources)} systems, {places.total} places{agreement}")
    if len(sources) == 2 and config.method == "votes":
        ui.warn(
            "with two systems each difference is a tie: the first one's word wins, and any word over none "
            "(--method average weighs confidences)"
        )
    if any(counts.missing):
        lacking = ", ".join(f"{n} in {name}" for name, n in zip(names, counts.missing, strict=True) if n)
        ui.warn(
            f"utterances without a hypothesis: {lacking} (of {ledger.kept}): that system votes for the empty word there"
        )
