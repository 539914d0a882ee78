"""`ds2 segment IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import ui
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import IfStale, In, Out, with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.segment import SegmentConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(SegmentConfig)
def segment(config: SegmentConfig, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Cut aligned recordings (the rows of `ds2 align`) into segments at pauses between words.

    The rows of OUT point into the recordings (`offset`, `duration`); no audio is cut. Cuts are chosen for segments of
    --mean-duration in long pauses (paper, section 5.1). No segment contains a span that does not align (`gaps`).
    What is in no segment is listed with its times in OUT.dropped.jsonl. An id is that of the recording, then start and
    end in ms.

    Example: ds2 align exp/base talks.feats.jsonl - --gaps | ds2 segment - talks.segments.jsonl --max-duration 15
    """
    from ds2cli.stages import segment as stage

    config.check()
    made, tally = begin("segment", config, out, {"IN": in_}, if_stale=if_stale), stage.Tally()

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        return stage.run(config, rows, ledger, tally)

    filter_rows("segment", config, in_, out, needs=("id", "audio_filepath"), run=run, copies=None, made=made)
    for line in tally.describe():
        ui.log(f"segment: {line}")
