"""`ds2 doctor …`: check the installed libraries for correctness and speed."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ds2cli import manifest, native, ui
from ds2cli.cli.lib.options import with_config
from ds2cli.config.doctor import CtcDoctorConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error, UsageError

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def doctor(
    context: typer.Context,
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile all kernels in advance; `make setup` does this.")
    ] = False,
) -> None:
    """Show what is installed, check the CTC loss (`ctc`), or compile the kernels in advance (`--warm`).

    Alone it prints a line for each part of the installation: the native libraries, the cache of compiled kernels and
    the extras, with the command that adds what is missing.

    The kernels (the search, the edit distance and other loops) are compiled on first use, which takes up to a minute,
    and are then loaded from the user's cache (~/.cache/ds2cli, or NUMBA_CACHE_DIR). --warm compiles all of them now.
    Where the package's folder is writable, it also stores them in the package, so that no other user compiles them.

    Examples: ds2 doctor; ds2 doctor --warm
    """
    if warm:
        _compile_kernels()
    elif context.invoked_subcommand is None:
        from ds2cli.stages.doctor_install import describe_installation

        for name, state in describe_installation():
            ui.echo_data(f"{name}: {state}")


def _compile_kernels() -> None:
    from ds2cli.kernels import compilation
    from ds2cli.kernels._jit import store_installed
    from ds2cli.stages import doctor_warm as stage

    compilation.on_first = None
    ui.log("doctor: compiling what is not in the cache yet (up to a minute) ...")
    kernels = ui.progress(stage.compile_kernels(), "doctor", stage.count_kernels(), "kernel", time.monotonic)
    count = sum(1 for _ in kernels)
    compiled = f"{count} kernels ready, compiled in {compilation.seconds():.1f} s"
    root = stage.cache_root()
    if root is None:
        raise Ds2Error(
            f"doctor: {compiled}, but no cache folder can be written: every command compiles again "
            "(set NUMBA_CACHE_DIR to a folder that can be written)"
        )
    ui.log(f"doctor: {compiled}, cache in {root}{', and in the package for all users' if store_installed() else ''}")


@app.command()
@with_config(CtcDoctorConfig)
def ctc(
    config: CtcDoctorConfig,
    rows: Annotated[
        str | None,
        typer.Argument(metavar="MANIFEST", help="Rows with num_frames and text [default: a generated batch]."),
    ] = None,
) -> None:
    """Compare the native and the torch CTC loss with a float64 reference on the hardest utterances of MANIFEST.

    The batch contains the longest utterance, the longest label, the label with the fewest spare steps, the one with the
    most repeated symbols, a label that is too long, an empty label, and non-finite logits. The exit status is 1 if a
    native cost is off by more than 1e-5 (relative), a gradient by more than 1e-5 (absolute; for bfloat16 beyond its
    rounding), or if an invalid utterance has a gradient. Without the native library, only the torch loss is compared.

    Example: ds2 doctor ctc data/train.feats.jsonl --vocab exp/base
    """
    import torch

    from ds2cli.stages import doctor_ctc as stage

    for line in native.describe_libraries().splitlines():
        ui.log(line)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA device found by torch (--device cpu)")
    ledger = Ledger()
    manifest_rows = None if rows is None else manifest.read(rows, ("id", "num_frames", "text"), ledger)
    cases, symbols = stage.choose_batch(config, manifest_rows, ledger)
    if rows is not None:
        ui.log(f"doctor: {ledger.summary()}")
    ui.table(
        f"{len(cases)} utterances, {symbols} symbols, {torch.get_num_threads()} threads, {config.device}",
        ("steps", "labels", "steps needed", "selected for", "id"),
        ((c.steps, len(c.labels), c.steps - c.spare, c.reason, c.name) for c in cases),
    )
    comparisons = list(stage.compare_losses(cases, symbols, config.seed, config.device))
    torch_seconds = {(c.logits, c.precision): c.seconds for c in comparisons if c.implementation == "torch"}
    ui.table(
        "",
        ("logits", "precision", "loss", "cost error", "gradient error", "invalid ok", "agrees", "ms", "speed-up"),
        (
            (
                c.logits, c.precision, c.implementation, f"{c.cost_error:.1e}", f"{c.gradient_error:.1e}",
                f"{c.invalid_ok} of {c.invalid}", "yes" if c.agrees else "no", f"{1000 * c.seconds:.1f}",
                f"{torch_seconds[c.logits, c.precision] / c.seconds:.1f}x",
            )
            for c in comparisons
        ),
        to_stdout=True,
    )  # fmt: skip
    failed = [f"{c.logits} {c.precision}" for c in comparisons if c.implementation == "native" and not c.agrees]
    if failed:
        raise Ds2Error(
            f"doctor: the native CTC loss disagrees with the reference: {', '.join(failed)} "
            "(train with --ctc torch, and report the bug)"
        )
