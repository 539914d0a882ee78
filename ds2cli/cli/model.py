"""`ds2 model show`, `ds2 model list`, `ds2 model average` and `ds2 model quantize`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ds2cli import ui
from ds2cli.cli.lib.options import Exp, with_config
from ds2cli.config.model import QuantizeConfig, ShowConfig

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show a network, list the presets, average trained networks, or round weights.",
)


@app.command()
@with_config(ShowConfig)
def show(
    config: ShowConfig,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Config of `ds2 train`, preset (`ds2 model list`), or EXP.")
    ],
) -> None:
    """Show the layers of a network: shapes, parameters, multiply-adds per second of audio, time stride, look-ahead.

    MODEL need not be trained. The look-ahead is the future audio that the output of a step depends on; in a
    bidirectional network, that is the rest of the utterance. Of a bundle, everything in it is compared with its hash.

    Example: ds2 model show english-icml --symbols 29
    """
    import json

    from ds2cli.experiment_files import is_bundle, open_files
    from ds2cli.stages import model as stage

    network = stage.find_network(model, config.symbols, config.bins, config.hop_ms)
    layers = stage.list_layers(network)
    total = stage.summarize_network(network, layers)
    if config.json:
        ui.echo_data(json.dumps({"model": model, **total, "layers": [layer._asdict() for layer in layers]}))
        return
    rows = [["input", "features", f"{network.bins}", f"{network.hop_ms:g}", "", ""]]
    for layer in layers:
        shape, millions = " x ".join(map(str, layer.shape)), f"{layer.mult_adds / 1e6:,.1f}"
        rows.append([layer.name, layer.what, shape, f"{layer.step_ms:g}", f"{layer.parameters:,}", millions])
    rows.append(["total", "", "", "", f"{total['parameters']:,}", f"{total['mult_adds_per_s'] / 1e6:,.1f}"])
    columns = ["layer", "type", "output", "step (ms)", "parameters", "mult-adds (M/s)"]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    aligned = [[c if i < 3 else c.rjust(widths[i]) for i, c in enumerate(row)] for row in rows]
    ui.table("", columns, aligned, to_stdout=True)
    look_ahead_ms = total["look_ahead_ms"]
    ui.echo(f"time stride {total['step_ms']:g} ms ({total['stride']} frames)")
    ui.echo(f"look-ahead {'to the end of the utterance' if look_ahead_ms is None else f'{look_ahead_ms:g} ms'}")
    if is_bundle(model):
        for line in stage.describe_bundle(open_files(model)):
            ui.echo(ui.one_line(line, sys.stdout.encoding))


@app.command("list")
def list_() -> None:
    """List the presets for `ds2 train --config NAME`: networks of the paper.

    Example: ds2 train data/train.jsonl exp/net --config 38m-gru-7x768
    """
    from ds2cli.config.base import read_preset_titles

    ui.table("", ["name", "description"], read_preset_titles().items(), to_stdout=True)


@app.command()
def average(
    networks: Annotated[
        list[str], typer.Argument(metavar="NETWORK…", help="Network files, such as EXP/epoch-*.safetensors.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Network file to write (.safetensors).")],
) -> None:
    """Average the weights of several epochs of a training run; the result is often better than any one of them.

    Example: ds2 model average exp/base/epoch-*.safetensors exp/base/average.safetensors
    """
    from ds2cli.errors import UsageError
    from ds2cli.io import open_out_bytes
    from ds2cli.nn.average import average_models

    if not out.endswith(".safetensors"):
        raise UsageError(f"model average: OUT: expected a name that ends in .safetensors, got {out}")
    data = average_models(networks)
    with open_out_bytes(out) as f:
        f.write(data)
    ui.log(f"model: wrote {out}, the average of {len(networks)} networks")


@app.command()
@with_config(QuantizeConfig)
def quantize(
    config: QuantizeConfig,
    exp: Exp,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Network file to write (.safetensors).")],
) -> None:
    """Store the weights of a trained network in fewer bits: as int8 with a scale per output, or as bfloat16.

    Batch norms are folded into the weights, as for recognition they are constants. Every command that takes EXP takes
    the file. On a CPU, int8 weights are also computed with as they are, and bfloat16 ones by ds2 transcribe, which
    makes streams (--live) faster; elsewhere they are converted to float32. Measure what the rounding costs with
    ds2 decode and ds2 score. `--precision int8` does the same with a network as it was trained.

    Example: ds2 model quantize exp/streaming exp/streaming-int8.safetensors
    """
    from pathlib import Path

    from ds2cli.errors import UsageError
    from ds2cli.experiment_files import is_bundle
    from ds2cli.io import open_out_bytes
    from ds2cli.memory import format_size
    from ds2cli.runtime.file import find_network, read_network
    from ds2cli.runtime.file import quantize as quantize_network

    if not out.endswith(".safetensors"):
        raise UsageError(f"model quantize: OUT: expected a name that ends in .safetensors, got {out}")
    network = read_network(exp)
    if Path(out).exists() and not is_bundle(exp) and Path(out).samefile(find_network(exp)):
        raise UsageError(f"model quantize: OUT: {out} is the network of {exp}, which would be lost (name another file)")
    data = quantize_network(network, config.weights)
    with open_out_bytes(out) as f:
        f.write(data)
    before = sum(tensor.nbytes for tensor in network.tensors.values())
    ui.log(
        f"model: wrote {out}, weights as {config.weights}: {format_size(len(data))}, {format_size(before)} as float32"
    )
