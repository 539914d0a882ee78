"""`ds2 decode EXP IN OUT`, and `ds2 decode --tune EXP DEV`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import ui
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import Exp, In, Out, with_config
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.manifest import Row

OF_TUNE = ("tune_speed", "plot", "seed", "alphas", "betas", "unknowns", "unknown_letters")
"""Settings that say nothing without --tune."""


@with_config(DecodeConfig)
def decode(config: DecodeConfig, exp: Exp, in_: In = "-", out: Out = "-") -> None:
    """Find the text of each utterance of IN; write OUT's rows with `pred_text` and `pred_score`.

    Rows that have an `emission` need no network; others are run through that of EXP while the ones before them are
    searched, and --emissions keeps what it says of them, so that decoding again needs no network.

    Example: ds2 decode exp/base data/test.jsonl exp/base/test.jsonl --lm exp/lm/3gram.bin --nbest 10

    Example: ds2 decode --tune exp/base data/dev.jsonl --lm exp/lm/3gram.bin --nj 4
    """
    from ds2cli.recognizer.decoder import build_search, describe_search, resolve_settings
    from ds2cli.recognizer.emission_archive import archive_path
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import decode as stage

    if config.tune:
        from ds2cli.cli.lib.tune import tune

        tune(config, exp, in_, out)
        return
    usual = DecodeConfig()
    for name in OF_TUNE:
        if getattr(config, name) != getattr(usual, name):
            raise UsageError(f"--{name.replace('_', '-')} is of --tune")
    resolved = resolve_settings(config, exp, ui.warn)
    experiment = Experiment(exp)
    search = build_search(resolved, experiment, ui.warn)
    if resolved.lm is not None:
        ui.log(f"decode: {describe_search(resolved, exp)}")

    ark = archive_path(config.emissions, out) if config.emissions is not None else None

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        made = stage.run(resolved, rows, ledger, experiment, search, ark=ark)
        # whoever reads the pipe opens the archive at once, and it appears with the last row
        return iter(list(ui.progress(made, "decode"))) if ark and out == "-" else made

    filter_rows("decode", resolved, in_, out, needs=("id",), run=run)
