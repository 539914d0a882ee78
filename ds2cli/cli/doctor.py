"""`ds2 doctor …`: is what is installed right, and how fast is it?"""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import manifest, native, ui
from ds2cli.cli.lib.options import with_config
from ds2cli.config.doctor import CtcDoctorConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check what is installed: is it right, is it fast?")


@app.command()
@with_config(CtcDoctorConfig)
def ctc(
    config: CtcDoctorConfig,
    rows: Annotated[
        str | None,
        typer.Argument(metavar="MANIFEST", help="Rows with num_frames and text [default: a batch that is made up]."),
    ] = None,
) -> None:
    """Compare the native CTC loss and torch's with the formulas in float64, on the worst utterances of MANIFEST.

    The batch has its longest utterance, its longest label, its tightest fit, its most repeats, a label that does not
    fit, an empty one, and logits that are not finite. Exit 1 when the native costs are off by more than 1e-5 (relative)
    or the gradients by 1e-5 (absolute; bfloat16: beyond its rounding), or when an utterance that cannot be learned from
    has a gradient. Where there is no native library torch's loss is shown alone.

    Example: ds2 doctor ctc data/train.feats.jsonl --vocab exp/base
    """
    import torch

    from ds2cli.stages import doctor_ctc as stage

    for line in native.describe().splitlines():
        ui.log(line)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no such device here")
    ledger = Ledger()
    found = None if rows is None else manifest.read(rows, ("id", "num_frames", "text"), ledger)
    cases, symbols = stage.choose(config, found, ledger)
    if rows is not None:
        ui.log(f"doctor: {ledger.summary()}")
    ui.table(
        f"{len(cases)} utterances, {symbols} symbols, {torch.get_num_threads()} threads, {config.device}",
        ("steps", "labels", "need", "why", "id"),
        ((c.steps, len(c.labels), c.steps - c.spare, c.why, c.name) for c in cases),
    )
    findings = list(stage.examine(cases, symbols, config.seed, config.device))
    slowest = {(f.logits, f.precision): f.seconds for f in findings if f.implementation == "torch"}
    ui.table(
        "",
        ("logits", "precision", "loss", "cost error", "gradient error", "odd ones right", "agrees", "ms", "speed"),
        (
            (
                f.logits, f.precision, f.implementation, f"{f.cost_error:.1e}", f"{f.gradient_error:.1e}",
                f"{f.defined} of {f.odd}", "yes" if f.agrees else "no", f"{1000 * f.seconds:.1f}",
                f"{slowest[f.logits, f.precision] / f.seconds:.1f}x",
            )
            for f in findings
        ),
        to_stdout=True,
    )  # fmt: skip
    wrong = [f"{f.logits} {f.precision}" for f in findings if f.implementation == "native" and not f.agrees]
    if wrong:
        raise Ds2Error(
            f"doctor: the native CTC loss is off: {', '.join(wrong)} (train with --ctc torch, and report it)"
        )
