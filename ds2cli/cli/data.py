"""`ds2 data …`: check, sort, select, split, merge and count the rows of manifests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from ds2cli import manifest, manifest_lines, ui
from ds2cli.atomic import together
from ds2cli.cli.lib.check_rows import fix, validate
from ds2cli.cli.lib.features import inherit_features
from ds2cli.cli.lib.filter import (
    count_lines,
    refuse_drops_in,
    report_drops,
    require_rows,
    save_config,
    source_name,
    write_rows,
)
from ds2cli.cli.lib.interop import export_app, import_app
from ds2cli.cli.lib.options import IfStale, In, Out, number_option, with_config
from ds2cli.cli.lib.provenance import begin, save_joined_record
from ds2cli.cli.lib.suspects import suspects
from ds2cli.config.base import StageConfig
from ds2cli.config.data import CombineConfig, OverlapConfig, SplitConfig, SubsetConfig
from ds2cli.drops import Ledger, no_utterances

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check, repair, sort, select, split, merge, count, import and export the rows of manifests.",
)
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.command()(validate)


@app.command()
@with_config(StageConfig)
def sort(config: StageConfig, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Sort rows by id, as all commands expect them. Duplicate ids and malformed rows are dropped."""
    from ds2cli.stages import data_sort

    made = begin("data sort", config, out, {"IN": in_}, if_stale=if_stale)
    ledger = require_rows(Ledger(source=source_name(in_)), config)
    rows = data_sort.sort(in_, out, ledger)
    write_rows("sort", config, out, rows, ledger, inherit_features([in_]), made, write=manifest_lines.write)


app.command()(fix)


@app.command("subset")
@with_config(SubsetConfig)
def subset_(config: SubsetConfig, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Keep the rows that meet all conditions."""
    from ds2cli.stages.data_subset import subset

    refuse_drops_in(in_, config)
    inputs = {"IN": in_, "--ids": config.ids, "--without": config.without}
    made = begin("data subset", config, out, inputs, if_stale=if_stale)
    ledger = require_rows(Ledger(source=source_name(in_)), config)
    rows = ui.progress(subset(config, in_, out, ledger), "subset", count_lines(in_))
    write_rows("subset", config, out, rows, ledger, inherit_features([in_]), made, write=manifest_lines.write)


@app.command()
@with_config(SplitConfig)
def split(
    config: SplitConfig,
    in_: In,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="Manifests to write; JOB in the name becomes the number of the part: x.JOB.jsonl."
        ),
    ],
) -> None:
    """Split a manifest into parts, for parallel jobs or as training, dev and test sets. `combine` merges parts."""
    from ds2cli.errors import UsageError
    from ds2cli.stages import data_split

    if "JOB" not in out:
        raise UsageError(f"{out}: OUT must contain JOB, such as {out.removesuffix('.jsonl')}.JOB.jsonl")
    features = inherit_features([in_])
    made = begin("data split", config, out, {"IN": in_})
    with manifest_lines.rereadable(in_) as source:
        rows = manifest_lines.read(in_, fields=data_split.fields_for(config), source=source)
        parts = data_split.plan(config, rows, in_)
        if empty := data_split.count_empty(parts, config.parts):
            ui.warn(f"split: {empty} of {config.parts} parts are empty: {in_} has {len(parts)} rows")
        # of few parts, as each holds files open: parts of two splits may have utterances in common
        with together() if config.parts <= data_split.MAX_OPEN else contextlib.nullcontext():
            for number, part in enumerate(data_split.write(in_, out, parts, config.parts, source)):
                # a part may be trained on
                kept = int((parts == number).sum())
                record = made.with_settings(part=number + 1).to_saved(part) if made else {}
                save_config(config, part, kept=kept, dropped=0, **features, **record)
            save_config(config, out.replace("JOB", "all"))


@app.command()
@with_config(OverlapConfig)
def overlap(
    config: OverlapConfig,
    files: Annotated[
        list[str], typer.Argument(metavar="IN…", help="Manifests such as those of training, dev and test sets.")
    ],
) -> None:
    """Check that no speaker, recording or text is in two manifests; print those that are and exit with status 1."""
    from ds2cli.errors import Ds2Error, UsageError
    from ds2cli.stages.data_overlap import Missing, find_overlaps

    if len(files) < 2:
        raise UsageError("overlap: expected at least two manifests to compare, got one")
    fields = [name.strip() for name in config.fields.split(",") if name.strip()]
    if not fields:
        raise UsageError("overlap: --fields names no field, expected some, such as audio_filepath,text")
    overlaps, incomparable = 0, set()
    with contextlib.ExitStack() as stack:
        sources = [(file, stack.enter_context(manifest_lines.rereadable(file))) for file in files]
        manifests = [(file, partial(_read_values, file, fields, source)) for file, source in sources]
        for found in find_overlaps(manifests, fields, config.most):
            if isinstance(found, Missing):
                ui.warn(f"overlap: {found.describe()}")
                incomparable |= {found.field} if found.rows == found.total else set()
            else:
                overlaps += 1
                ui.echo(found.describe())
    if overlaps:
        raise Ds2Error(
            "overlap: error rates on such a test set are too low (ds2 data split --by speaker or --by text keeps parts "
            "apart; --fields selects what is compared)"
        )
    compared = [name for name in fields if name not in incomparable]
    if not compared:
        raise Ds2Error(
            f"overlap: nothing was compared: a manifest has no {' and no '.join(fields)} (compare other --fields)"
        )
    ui.log(f"overlap: {len(files)} manifests have no {' or '.join(compared)} in common")


def _read_values(path: str, fields: Sequence[str], source: str) -> Iterator[tuple[Any, ...]]:
    return (line.values for line in manifest_lines.read(path, fields=fields, source=source))


@app.command()
@with_config(CombineConfig)
def combine(
    config: CombineConfig,
    files: Annotated[
        list[str], typer.Argument(metavar="IN… OUT", help="Manifests to merge, then the manifest to write.")
    ],
    if_stale: IfStale = False,
) -> None:
    """Merge sorted manifests. A repeated id counts as bad and is dropped.

    Manifests with different feature settings are refused.
    """
    from ds2cli.errors import UsageError
    from ds2cli.stages import data_combine

    if len(files) < 2:
        raise UsageError("combine: expected at least two manifests, IN… OUT, got one")
    *sources, out = files
    inputs = {f"IN {number}": path for number, path in enumerate(sources, start=1)}
    made = begin("data combine", config, out, inputs, if_stale=if_stale)
    ledger, features = require_rows(Ledger(source=", ".join(sources)), config), inherit_features(sources)
    chunk = data_combine.chunk_for(len(sources))
    parts = [manifest_lines.read(source, out, ledger=ledger, chunk=chunk) for source in sources]
    rows = data_combine.combine(parts, ledger)
    write_rows("combine", config, out, rows, ledger, features, made, write=manifest_lines.write)
    if config.parts_of is not None and made is not None:
        save_joined_record(config, out, sources)


@app.command()
def augment(
    in_: In,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder for the WAV files, ID.wav.")],
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML file of training settings, as for `ds2 train`.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A training setting, such as augment.noise=noise.jsonl."),
    ] = None,
    epoch: Annotated[
        int, number_option("--epoch", int, "Training epoch whose augmentation is applied, from 0.", min=0)
    ] = 0,
    first: Annotated[int, number_option("--first", int, "Number of recordings to take from IN.", min=1)] = 5,
    rate: Annotated[
        int,
        number_option("--rate", int, "Sample rate of the features, and of the WAV files (Hz).", min=1000, max=192000),
    ] = 16000,
) -> None:
    """Write augmented recordings to listen to. They have the speed, reverberation and noise of a training epoch.

    Masks and other changes to the features are not included.

    Example: ds2 data augment train.jsonl augmented/ --set augment.noise=noise.jsonl --set augment.noise_share=1
    """
    from itertools import islice

    from ds2cli.config.base import build, parse_set, read_toml
    from ds2cli.config.effects import refuse_without_effect
    from ds2cli.config.features import FeatureConfig
    from ds2cli.config.train import TrainConfig
    from ds2cli.stages.augment import open_augmenter, write_augmented

    sources = [(config, read_toml(config))] if config else []
    given = [(f"--set {text}", parse_set(text)) for text in set_ or []]
    train = build(TrainConfig, *sources, *given)
    for _, values in given:
        refuse_without_effect(train, values)
    augmenter, ledger = open_augmenter(train.augment, train.seed, FeatureConfig(sample_rate=rate)), Ledger()
    ledger.needs_rows, ledger.source = True, source_name(in_)
    rows = islice(manifest.read(in_, ("id", "audio_filepath"), ledger), first)
    try:
        for name, effects in write_augmented(augmenter, epoch, rows, folder, ledger):
            ui.echo(f"{name}\t{effects}")
    except BrokenPipeError as e:
        e.add_note(f"the rest of {folder}")
        raise
    for pool in (augmenter.noise, augmenter.impulse_responses):
        for path, reason in pool.failures.items() if pool else ():
            ui.warn(f"augment: {path} was not used: {reason}")
    report_drops("augment", StageConfig(), "-", ledger)
    ledger.enforce_max_bad("augment", train.max_bad)


@app.command()
def show(
    in_: In = "-",
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID…", help="Ids of the utterances to print [default: the first ones]."),
    ] = None,
    most: Annotated[int, number_option("--most", int, "Maximum number of rows to print.", min=1)] = 10,
) -> None:
    """Print rows in readable form, one line per field."""
    from itertools import islice

    from ds2cli.errors import Ds2Error

    rows, shown = (row for row in manifest.read(in_) if not ids or row["id"] in ids), set()
    for row in islice(rows, most):
        shown.add(row["id"])
        for name, value in row.items():
            ui.echo(f"{name:>16}  {value}")
        ui.echo()
    if not shown and not ids:
        raise no_utterances(source_name(in_))
    missing = [name for name in ids or () if name not in shown]
    if missing and len(shown) < most:
        raise Ds2Error(f"{source_name(in_)}: no row has the id {', '.join(map(repr, missing))}")


@app.command("stats")
def stats_(in_: In = "-") -> None:
    """Print the utterances, hours, durations, speakers, words and characters of a manifest."""
    from ds2cli.stages.data_stats import FIELDS, stats

    for name, value in stats(manifest_lines.read(in_, fields=FIELDS), in_).items():
        ui.echo(f"{name:>22}  {value}")


@app.command()
@with_config(StageConfig)
def level(config: StageConfig, in_: In = "-") -> None:
    """Print the levels of the recordings in a manifest (dBFS).

    Features for streams start from the mean: ds2 featurize --level-from past --initial-db MEAN.

    Example: ds2 data level data/train.jsonl
    """
    from ds2cli.stages.level import measure_levels, summarize

    ledger = require_rows(Ledger(source=source_name(in_)), config, is_choice=True)
    rows = manifest.read(in_, ("id", "audio_filepath"), ledger)
    levels = list(ui.progress(measure_levels(rows, ledger), "level", count_lines(in_)))
    report_drops("level", config, "-", ledger)
    ledger.enforce_max_bad("level", config.max_bad)
    for name, value in summarize(levels).items():
        ui.echo(f"{name:>22}  {value}")


app.command()(suspects)
