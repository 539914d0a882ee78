"""`ds2 data …`: check, sort, choose, cut, join and count the rows of manifests."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import filter_rows, report_drops, save_config, write_rows
from ds2cli.cli.lib.options import In, Out, with_config
from ds2cli.config.base import StageConfig
from ds2cli.config.data import SplitConfig, SubsetConfig, ValidateConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check, sort, choose, cut, join and count rows.")


@app.command()
@with_config(ValidateConfig)
def validate(config: ValidateConfig, in_: In = "-") -> None:
    """Check every row of a manifest; exit 3 and name `path:line` when one is broken."""
    from ds2cli.stages.data import faults

    rows = broken = 0
    for fault in ui.progress(faults(config, in_), "validate"):
        rows += 1
        if fault:
            broken += 1
            if broken <= config.most:
                ui.log(fault)
    if broken:
        raise DataError(f"{in_}: {broken} of {rows} rows are broken (ds2 data fix keeps what can be kept)")
    ui.log(f"{in_}: {rows} rows are good")


@app.command()
@with_config(StageConfig)
def sort(config: StageConfig, in_: In = "-", out: Out = "-") -> None:
    """Sort rows by id as the other stages expect them; duplicates and broken rows are dropped."""
    from ds2cli.stages import data

    ledger = Ledger()
    write_rows("sort", config, out, data.sort(in_, ledger), ledger)


@app.command()
@with_config(StageConfig)
def fix(config: StageConfig, in_: In = "-", out: Out = "-") -> None:
    """Sort rows, clean their texts (Unicode form, case, punctuation, CRLF) and drop what cannot be used."""
    from ds2cli.stages import data

    ledger = Ledger()
    write_rows("fix", config, out, data.fix(data.sort(in_, ledger), ledger), ledger)


@app.command()
@with_config(SubsetConfig)
def subset(config: SubsetConfig, in_: In = "-", out: Out = "-") -> None:
    """Keep the rows that meet every condition given."""
    from ds2cli.stages import data

    filter_rows("subset", config, in_, out, needs=("id",), run=lambda rows, ledger: data.subset(config, rows, ledger))


@app.command()
@with_config(SplitConfig)
def split(
    config: SplitConfig,
    in_: In,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Name of the parts, with JOB for the number: x.JOB.jsonl.")],
) -> None:
    """Cut a manifest into --parts files for parallel jobs; `combine` puts them together again."""
    from ds2cli.errors import UsageError
    from ds2cli.stages import data

    if "JOB" not in out:
        raise UsageError(f"{out}: the name of the parts needs JOB in it, as {out.removesuffix('.jsonl')}.JOB.jsonl")
    for job, part in enumerate(data.split(config, list(manifest.read(in_))), start=1):
        manifest.write(out.replace("JOB", str(job)), part)
    save_config(config, out.replace("JOB", "all"))


@app.command()
@with_config(StageConfig)
def combine(
    config: StageConfig,
    files: Annotated[list[str], typer.Argument(metavar="IN… OUT", help="Manifests to join, then the one to write.")],
) -> None:
    """Join sorted manifests into one; ids must not be in two of them."""
    from ds2cli.errors import UsageError
    from ds2cli.stages import data

    if len(files) < 2:
        raise UsageError("combine: expected at least one IN and the OUT, got one name")
    *sources, out = files
    ledger = Ledger()
    rows = data.combine([manifest.read(source, ledger=ledger) for source in sources], ledger)
    write_rows("combine", config, out, rows, ledger)


@app.command()
def augment(
    in_: In,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder for the files, ID.wav.")],
    config: Annotated[str | None, typer.Option(metavar="FILE", help="Settings of a training (TOML).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="As in `ds2 train`.")] = None,
    epoch: Annotated[int, typer.Option(help="Epoch of the training, from 0.", min=0)] = 0,
    first: Annotated[int, typer.Option(help="How many of IN's recordings.", min=1)] = 5,
    rate: Annotated[int, typer.Option(help="Sample rate of the features (Hz).", min=1000, max=192000)] = 16000,
) -> None:
    """Write recordings as `ds2 train` would hear them in an epoch: other speed, room, noise.

    Only what is done to the recording is heard, not masks and other changes of the spectrogram.

    Example: ds2 data augment train.jsonl heard/ --set augment.noise=noise.jsonl --set augment.noise_share=1
    """
    from itertools import islice

    from ds2cli.config.base import build, parse_set, read_toml
    from ds2cli.config.featurize import SpectrogramConfig
    from ds2cli.config.train import TrainConfig
    from ds2cli.stages.augment import hear, listener

    sources = [(config, read_toml(config))] if config else []
    train = build(TrainConfig, *sources, *((f"--set {s}", parse_set(s)) for s in set_ or []))
    make, ledger = listener(train.augment, train.seed, SpectrogramConfig(sample_rate=rate)), Ledger()
    rows = islice(manifest.read(in_, ("id", "audio_filepath"), ledger), first)
    for name, said in hear(make, epoch, rows, folder, ledger):
        ui.say(f"{name}\t{said}")
    for bank in (make.noise, make.rooms):
        for path, why in bank.failed.items() if bank else ():
            ui.warn(f"augment: {path} was not used: {why}")
    report_drops("augment", StageConfig(), "-", ledger)
    ledger.refuse("augment", train.max_bad)


@app.command()
def show(
    in_: In = "-",
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Only these utterances.")] = None,
    most: Annotated[int, typer.Option(help="How many rows at the most.", min=1)] = 10,
) -> None:
    """Print rows for reading: a line a field."""
    from itertools import islice

    rows = (row for row in manifest.read(in_) if not ids or row["id"] in ids)
    for row in islice(rows, most):
        for name, value in row.items():
            ui.say(f"{name:>16}  {value}")
        ui.say()


@app.command()
def stats(in_: In = "-") -> None:
    """Print counts of a manifest: utterances, hours, durations, speakers, words, characters."""
    from ds2cli.stages import data

    for name, value in data.stats(manifest.read(in_)).items():
        ui.say(f"{name:>22}  {value}")
