"""`ds2 emit EXP IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import ui
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import Exp, In, Out, with_config
from ds2cli.config.emit import EmitConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(EmitConfig)
def emit(config: EmitConfig, exp: Exp, in_: In = "-", out: Out = "-") -> None:
    """Run the network of EXP over IN's features; write OUT's rows with `emission`, `num_steps` and `step_s`.

    Decoding many times, aligning and tuning then need no network.

    Example: ds2 emit exp/base data/dev.feats.jsonl data/dev.emit.jsonl --dir data/emissions
    """
    from ds2cli.recognizer.emission_archive import archive_path
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import emit as stage

    experiment, ark = Experiment(exp), archive_path(config.dir, out)

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        made = stage.run(rows, ledger, experiment, ark, config.max_bad)
        # whoever reads the pipe opens the archive at once, and it appears with the last row
        return iter(list(ui.progress(made, "emit"))) if out == "-" else made

    filter_rows("emit", config, in_, out, needs=("id", "feats"), run=run)
