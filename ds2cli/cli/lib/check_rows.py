"""The commands `ds2 data validate` and `ds2 data fix`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli.cli.lib.options import In, Out, with_config
from ds2cli.config.data import FixConfig, ValidateConfig


@with_config(ValidateConfig)
def validate(
    config: ValidateConfig,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[IN…]", help="Manifests to check; - is standard input.")
    ] = None,
) -> None:
    """Find all faults of all rows: form, texts, recordings, features, repeats. Exit with status 3 if there are any.

    Several manifests must not share ids or recordings; shared speakers and texts are warnings, which count only with
    --strict.

    Example: ds2 data validate train.jsonl dev.jsonl --train-config conf/train.toml --nj 2 --report faults.jsonl
    """
    from ds2cli.cli.lib.fault_report import run_validation

    run_validation(config, inputs or ["-"])


@with_config(FixConfig)
def fix(
    config: FixConfig,
    in_: In = "-",
    out: Out = "-",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace IN by the result; IN.backup keeps the original.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what changes, as a unified diff of rows.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; print counts, and with --diff the changes.")
    ] = False,
) -> None:
    """Repair a manifest: order, ids, fields, texts (Unicode form, case, punctuation); drop rows that cannot be used.

    IN may also be a JSON list. Rows without an id, such as those of NeMo, get one made from the path of the recording.

    Example: ds2 data fix train.jsonl --in-place --audio header --diff
    """
    from ds2cli.cli.lib.fix_rows import run_fix

    run_fix(config, in_, out, in_place=in_place, diff=diff, dry_run=dry_run)
