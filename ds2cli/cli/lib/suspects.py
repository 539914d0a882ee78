"""`ds2 data suspects EXP [IN…]`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import save_config
from ds2cli.cli.lib.options import with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.suspects import SuspectsConfig
from ds2cli.drops import Ledger

SHOWN_TEXT = 60
"""Characters of a text that are printed."""


@with_config(SuspectsConfig)
def suspects(
    config: SuspectsConfig,
    exp: Annotated[str, typer.Argument(metavar="EXP", help="Folder of `ds2 train`.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN…", help="Results on the training set: rows with `ctc_cost` or `pred_text`."),
    ] = None,
) -> None:
    """Rank the training utterances by how likely their transcript is wrong, with the evidence.

    The evidence is the loss per character (nats) after the first epoch, which training saves in EXP/losses/, the
    speaking rate (characters per second), and, with IN, the CTC cost of ds2 align and the character error rate of ds2
    decode. For losses and costs, 3 is added to the number of characters, as those of short texts are higher. Each is
    measured in robust standard deviations from the median of all utterances; the score is their sum. ds2 why shows more
    about an utterance, and ds2 data subset --without SUSPECTS leaves out the rows of --out.

    Example: ds2 data suspects exp/base --out suspects.jsonl

    Example: ds2 data suspects exp/base exp/base/train.greedy.jsonl exp/base/train.ali.jsonl
    """
    from ds2cli.stages.suspects import EVIDENCE, find_training_set, rank
    from ds2cli.train.losses import read_losses

    inputs = {"EXP": exp, **{f"IN {number}": path for number, path in enumerate(files or (), start=1)}}
    made = None if config.out is None else begin("data suspects", config, config.out, inputs)
    train = find_training_set(exp)
    # bad rows were dropped by the training, too
    bad = Ledger()
    results = [manifest.read(path, ledger=bad) for path in files or ()]
    ranked = rank(manifest.read(train, ledger=bad), results, read_losses(exp))
    if bad.rows:
        ui.warn(f"suspects: rows that cannot be read: {bad.dropped}, the first: {bad.rows[0]['detail']}")
    rows = []
    for suspect in ranked[: config.most]:
        values = [_format(suspect.evidence.get(name), suspect.deviations.get(name, 0.0)) for name in EVIDENCE]
        rows.append([f"{suspect.score:.1f}", *values, suspect.id, suspect.text[:SHOWN_TEXT]])
    ui.table("", ["score", "loss/char", "cost/char", "chars/s", "CER %", "id", "text"], rows, to_stdout=True)
    found = [suspect for suspect in ranked if suspect.score >= config.score]
    ui.log(f"suspects: {len(found)} of {len(ranked)} utterances of {train} have a score of {config.score:g} or more")
    if config.out is not None:
        written = sorted(found, key=lambda suspect: suspect.id)
        manifest.write(config.out, ({**s.row, "suspicion": s.score, "evidence": dict(s.evidence)} for s in written))
        save_config(config, config.out, **(made.to_saved(config.out) if made else {}))


def _format(value: float | None, deviations: float) -> str:
    """A value, and how many deviations it is away, if it is suspicious: `3.21 (+8.4)`."""
    if value is None:
        return ""
    return f"{value:.2f}" + (f" (+{deviations:.1f})" if deviations >= 1 else "")
