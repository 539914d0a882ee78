"""`ds2 transcribe EXP AUDIO…`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import report_drops
from ds2cli.cli.lib.options import Exp, with_config
from ds2cli.config.decode import TranscribeConfig
from ds2cli.drops import Ledger


@with_config(TranscribeConfig)
def transcribe(
    config: TranscribeConfig,
    exp: Exp,
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO…", help="Files, folders, - for a pipe.")],
) -> None:
    """Write the text of recordings: one line a file, its name first when there are several.

    Any sample rate and format; several channels are mixed. --lm, --alpha, … are those of `ds2 decode`. With --partials
    the text as it grew comes first, a line a change, after the seconds that had been searched.

    Example: ds2 transcribe exp/base meeting.mp3 voicemail/ --lm exp/base/lm.bin --json
    """
    from ds2cli.recognizer.decoder import build_search, resolve_settings
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import transcribe as stage

    resolved, experiment, ledger = resolve_settings(config, exp, ui.warn), Experiment(exp), Ledger()
    rows = list(stage.rows_of(audio))
    search = build_search(resolved, experiment, ui.warn)

    def narrow(name: str, rate: int, wanted: int) -> None:
        lacks = f"nothing above {rate / 2000:g} kHz, the network learned from up to {wanted / 2000:g}"
        ui.warn(f"{name}: {rate} Hz has {lacks}: expect much worse text")

    with closing(stage.run(resolved, rows, ledger, experiment, search, narrow)) as found:
        for row in ui.progress(ledger.keep(found), "transcribe", len(rows), "file"):
            if config.json:
                ui.say(manifest.dump(row).rstrip("\n"))
                continue
            name = "" if len(rows) == 1 else f"{row['audio_filepath']}\t"
            for partial in row.get("partials", []):
                ui.say(f"{name}{partial['end']:.2f}\t{partial['text']}")
            ui.say(f"{name}{row['pred_text']}")
    if ledger.rows or config.dropped:
        report_drops("transcribe", config, "-", ledger)
    ledger.refuse("transcribe", config.max_bad)
