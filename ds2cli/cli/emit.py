"""`ds2 emit EXP IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ds2cli.cli.lib.features import warn_of_other_features
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import Exp, IfStale, In, Out, with_config
from ds2cli.cli.lib.provenance import begin, existing
from ds2cli.cli.lib.resume import resuming
from ds2cli.config.emit import EmitConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(EmitConfig)
def emit(
    config: EmitConfig,
    exp: Exp,
    in_: In = "-",
    out: Out = "-",
    ensemble: Annotated[
        list[str] | None,
        typer.Option(
            "--ensemble",
            metavar="EXP",
            help="Average the probabilities with those of this experiment; repeatable.",
        ),
    ] = None,
    if_stale: IfStale = False,
) -> None:
    """Compute emissions: run the network of EXP over the features of IN.

    The rows of OUT get `emission` (a reference into the archive), `num_steps` and `step_s`. `ds2 decode`, `ds2 align`
    and tuning read them instead of running the network. After an interruption (also by a kill), the same command
    continues after the finished utterances.

    --ensemble averages the probabilities of several networks. With a language model, tuned again, they often make fewer
    errors together than each alone; greedy decoding may make more. They need the same symbols, in any order, the same
    settings of the features, and the same number of frames per step.

    --onnx takes the CTC network of any toolkit: EXP is its ONNX model, of samples or of features, and --tokens the list
    of its symbols, one per line or SYMBOL ID. --scores takes what another program has computed. The emissions are
    reordered with the blank first, symbols that cannot be in texts are left out, logits get a softmax, and the folder
    of the archive gets the tokens.txt: it takes the place of EXP in ds2 decode, align, filter and score.

    Example: ds2 emit exp/base data/dev.feats.jsonl data/dev.emit.jsonl --dir data/emissions

    Example: ds2 emit --onnx wav2vec2.onnx data/dev.jsonl lab/dev.jsonl --tokens vocab.json --standardize --dir lab

    Example: ds2 emit exp/seed0 data/dev.feats.jsonl data/dev.emit.jsonl --ensemble exp/seed1 --ensemble exp/seed2
    """
    from ds2cli.recognizer.emissions import archive_path
    from ds2cli.recognizer.ensemble import Ensemble
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import emit as stage

    config = replace(config, ensemble=(*config.ensemble, *(ensemble or ())))
    if config.onnx or config.scores is not None:
        from ds2cli.cli.lib.foreign import emit_onnx, emit_scores

        beside = existing(str(Path(exp).with_name("tokens.txt"))) if config.onnx else None
        files = {"--tokens": config.tokens or beside, "--scores": config.scores}
        made = begin("emit", config, out, {"EXP": exp, "IN": in_, **files}, "emission", if_stale=if_stale)
        (emit_onnx if config.onnx else emit_scores)(config, exp, in_, out, made)
        return
    members = {f"--ensemble {number}": path for number, path in enumerate(config.ensemble, start=1)}
    made = begin("emit", config, out, {"EXP": exp, "IN": in_, **members}, "emission", if_stale=if_stale)
    if config.ensemble:
        experiment: Experiment = Ensemble([exp, *config.ensemble], device=config.device, precision=config.precision)
    else:
        experiment = Experiment(exp, device=config.device, precision=config.precision)
    ark = archive_path(config.dir, out)
    warn_of_other_features(in_, experiment)

    with resuming(made, config, out, ark.removesuffix(".ark")) as journal:

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            return stage.run(rows, ledger, experiment, ark, config.max_bad, journal)

        filter_rows("emit", config, in_, out, needs=("id", "feats"), run=run, buffer_pipe=True, made=made)
