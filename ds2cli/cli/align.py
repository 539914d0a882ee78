"""`ds2 align EXP IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from ds2cli.atomic import together
from ds2cli.cli.lib.features import warn_of_other_features
from ds2cli.cli.lib.filter import filter_rows, is_pipe
from ds2cli.cli.lib.options import Exp, In, Out, with_config
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.io import open_out
from ds2cli.manifest import Row


@with_config(AlignConfig)
def align(config: AlignConfig, exp: Exp, in_: In = "-", out: Out = "-") -> None:
    """Align each text of IN with its speech (forced alignment): find the start and end time of each word.

    The rows of OUT get `words` (s), `align_logprob` and `ctc_cost` (nats). Rows with an `emission` are aligned without
    the network; the others need features.

    Example: ds2 align exp/base data/test.emit.jsonl data/test.ali.jsonl --ctm exp/base/test.ctm
    """
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.search.align import ctm_line
    from ds2cli.stages import align as stage

    experiment = Experiment(exp)
    # DataError now, and not one for each utterance
    _ = experiment.vocab
    warn_of_other_features(in_, experiment)
    with ExitStack() as files:
        if not is_pipe(out):
            files.enter_context(together())
        ctm = files.enter_context(open_out(config.ctm)) if config.ctm is not None else None

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            for row in stage.run(config, rows, ledger, experiment):
                if ctm is not None:
                    ctm.writelines(ctm_line(row["id"], word) for word in row["words"])
                yield row

        filter_rows("align", config, in_, out, needs=("id", "text"), run=run)
