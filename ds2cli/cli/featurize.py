"""`ds2 featurize IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import ui
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import IfStale, In, Out, with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.cli.lib.resume import resuming
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(FeaturizeConfig)
def featurize(config: FeaturizeConfig, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Compute features of the recordings in IN, write them to archives, and write the rows with `feats` to OUT.

    Features are computed in blocks of rows, each with an archive of its own: NAME.1.ark, NAME.2.ark and so on. After an
    interruption (also by a kill), the same command continues after the finished blocks.

    Example: ds2 featurize data/train.jsonl data/train.feats.jsonl --nj 4 --compress --speeds "0.9 1.0 1.1"

    Example: ds2 featurize data/train.jsonl data/live.feats.jsonl --level-from past --initial-db -17.3
    """
    from ds2cli.archive import archive_stem
    from ds2cli.stages import featurize as stage
    from ds2cli.stages.featurize_blocks import Tally

    made = begin("featurize", config, out, {"IN": in_}, "feats", if_stale=if_stale)
    stem = archive_stem("featurize", config.dir, out, "feats")
    tally = Tally()

    needs, copies = ("id", "audio_filepath"), len(stage.parse_speeds(config))
    with resuming(made, config, out, stem) as journal:

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            return stage.run(config, rows, ledger, stem, tally, journal)

        filter_rows("featurize", config, in_, out, needs=needs, run=run, copies=copies, buffer_pipe=True, made=made)
    ui.log(
        f"featurize: {tally.utterances} utterances ({tally.seconds / 3600:.2f} h), {tally.resampled} resampled to "
        f"{config.sample_rate} Hz; archives: {stem}.*.ark"
    )
    if narrow := tally.narrow:
        highest = " or ".join(f"{khz} kHz ({count})" for khz, count in sorted(narrow.items()))
        ui.warn(
            f"featurize: {narrow.total()} of {tally.utterances} utterances, such as {tally.narrow_example}, have "
            f"nothing above {highest}, but features up to {config.sample_rate / 2000:g} kHz: a network makes many more "
            "errors on them unless it has learned from such recordings"
        )
