"""`ds2 featurize IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import ui
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import In, Out, with_config
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(FeaturizeConfig)
def featurize(config: FeaturizeConfig, in_: In = "-", out: Out = "-") -> None:
    """Write the features of IN's recordings to archives, and IN's rows with `feats` and `num_frames` to OUT.

    Example: ds2 featurize data/train.jsonl data/train.feats.jsonl --nj 4 --compress --speeds "0.9 1.0 1.1"
    """
    from ds2cli.stages import featurize as stage

    stem = stage.place(config, out)
    tally = stage.Tally()

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        return stage.run(config, rows, ledger, stem, tally)

    filter_rows("featurize", config, in_, out, needs=("id", "audio_filepath"), run=run, whole=True)
    ui.log(
        f"featurize: {tally.seconds / 3600:.2f} h in {tally.files} utterances, {tally.resampled} resampled to "
        f"{config.sample_rate} Hz, archives {stem}.*.ark"
    )
