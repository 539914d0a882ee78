"""`ds2 export EXP OUT`."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from ds2cli import ui
from ds2cli.cli.lib.options import Exp, with_config
from ds2cli.config.export import ExportConfig
from ds2cli.errors import UsageError


@with_config(ExportConfig)
def export(
    config: ExportConfig,
    exp: Exp,
    out: Annotated[str, typer.Argument(metavar="OUT", help="File to write: a bundle (.ds2), or an ONNX model.")],
) -> None:
    """Make a bundle of an experiment: one file to copy or ship, which every command takes in place of EXP.

    It contains the network with its symbols, the language model, what was tuned (search weights, word times, the filter
    of transcripts), the license, and a card that describes them (`unzip -p OUT bundle.toml`). With a bundle, `ds2
    decode` and `ds2 transcribe` search with its language model unless --lm names another one, or with --greedy.

    It also contains a recording with the network's log-probabilities for it. They are computed again whenever the
    network is loaded: a difference, by other versions of libraries or damaged weights, is an error that says what
    differs. The recording and its text become part of what you ship: --clip chooses it.

    Nothing in a bundle is code, and nothing is unpacked: the language model is mapped where it lies. Commands that
    change an experiment (train, --tune, --fit) refuse a bundle. Unpacked with `unzip`, it is an experiment again.

    --onnx writes an ONNX model of the network instead, from features to log-probabilities.

    Example: ds2 export exp/base base.ds2 --license LICENSE

    Example: ds2 transcribe base.ds2 talk.mp3

    Example: ds2 export exp/streaming live.onnx --onnx --streaming
    """
    from ds2cli.experiment_files import SUFFIX
    from ds2cli.stages import export as stage

    if config.onnx:
        if out.endswith(SUFFIX):
            raise UsageError(
                f"export: OUT: names of bundles end in {SUFFIX}, expected that of an ONNX model, got {out}"
            )
        _export_onnx(config, exp, out)
        return
    if out != "-" and not out.endswith(SUFFIX):
        raise UsageError(f"export: OUT: expected a name that ends in {SUFFIX}, got {out}")
    bundle = stage.run(config, exp, shlex.join(["ds2", *sys.argv[1:]]))
    bundle.write(out)
    for warning in bundle.warnings:
        ui.warn(warning)
    for note in bundle.notes:
        ui.log(f"export: {note}")
    ui.log(f"export: wrote {out}, {bundle.size / 1e6:.1f} MB")


def _export_onnx(config: ExportConfig, exp: str, out: str) -> None:
    from ds2cli.stages import export_onnx

    done = export_onnx.run(exp, out, streaming=config.streaming)
    compared = (
        "not compared (pip install onnxruntime)" if done.difference is None else f"differs by {done.difference:.1g}"
    )
    ui.log(f"export: wrote {done.path}, {done.bytes / 1e6:.1f} MB; log-probabilities in onnxruntime: {compared}")
