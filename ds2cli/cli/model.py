"""`ds2 model show` and `ds2 model list`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import ui
from ds2cli.cli.lib.options import with_config
from ds2cli.config.model import ShowConfig

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at a network; list the paper's by name.")


@app.command()
@with_config(ShowConfig)
def show(
    config: ShowConfig,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Config of ds2 train, name of a network (ds2 model list), or EXP.")
    ],
) -> None:
    """Say what a network costs: layers, shapes, parameters, multiply-adds a second of audio, time stride, look-ahead.

    Nothing is trained or loaded for it. The look-ahead is what the scores of a step wait for beyond its own frame; with
    both directions that is the end of the utterance.

    Example: ds2 model show english-icml --symbols 29
    """
    import json

    from ds2cli.stages import model as stage

    network = stage.find(model, config.symbols, config.bins, config.hop_ms)
    layers = stage.layers(network)
    total = stage.summary(network, layers)
    if config.json:
        ui.say(json.dumps({"model": model, **total, "layers": [layer._asdict() for layer in layers]}))
        return
    rows = [["input", "features", f"{network.bins}", f"{network.hop_ms:g}", "", ""]]
    for layer in layers:
        shape, millions = " x ".join(map(str, layer.shape)), f"{layer.mult_adds / 1e6:,.1f}"
        rows.append([layer.name, layer.what, shape, f"{layer.step_ms:g}", f"{layer.parameters:,}", millions])
    rows.append(["total", "", "", "", f"{total['parameters']:,}", f"{total['mult_adds_per_s'] / 1e6:,.1f}"])
    columns = ["layer", "", "output", "step ms", "parameters", "M mult-adds/s"]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    aligned = [[c if i < 3 else c.rjust(widths[i]) for i, c in enumerate(row)] for row in rows]
    ui.table("", columns, aligned, to_stdout=True)
    ahead = total["look_ahead_ms"]
    ui.say(f"time stride {total['step_ms']:g} ms ({total['stride']} frames)")
    ui.say(f"look-ahead {'the whole utterance' if ahead is None else f'{ahead:g} ms'}")


@app.command("list")
def list_() -> None:
    """List the networks that --config of ds2 train knows by name, most of them the paper's.

    Example: ds2 train data/train.jsonl exp/net --config 38m-gru-7x768
    """
    from ds2cli.config.base import titles

    ui.table("", ["name", "network"], titles().items(), to_stdout=True)


@app.command()
def average(
    networks: Annotated[
        list[str], typer.Argument(metavar="NETWORK…", help="Files of networks, as EXP/epoch-*.safetensors.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="File to write, OUT.safetensors.")],
) -> None:
    """Write the mean of the networks of some epochs of a training; it is often better than any of them.

    Example: ds2 model average exp/base/epoch-*.safetensors exp/base/average.safetensors
    """
    from ds2cli.errors import UsageError
    from ds2cli.io import open_out_bytes
    from ds2cli.nn.average import average as mean_of

    if not out.endswith(".safetensors"):
        raise UsageError(f"model average: {out}: expected a name that ends in .safetensors")
    data = mean_of(networks)
    with open_out_bytes(out) as f:
        f.write(data)
    ui.log(f"model: {out} is the mean of {len(networks)} networks")
