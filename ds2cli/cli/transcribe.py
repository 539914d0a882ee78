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
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO…", help="Audio files and folders; - is standard input.")],
) -> None:
    """Transcribe recordings: print the text of each, one line per file, preceded by the file name if there are several.

    Recordings may have any format and sample rate; channels are mixed down. --lm, --alpha, … work as in `ds2 decode`.
    --partials also prints the text as it grows: one line per change, preceded by the seconds of audio decoded.

    Example: ds2 transcribe exp/base meeting.mp3 voicemail/ --lm exp/base/lm.bin --json
    """
    from ds2cli.recognizer.decoder import build_search, resolve_settings
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import transcribe as stage

    resolved, experiment, ledger = resolve_settings(config, exp, ui.warn), Experiment(exp), Ledger()
    rows = stage.list_recordings(audio, ledger)
    search = build_search(resolved, experiment, ui.warn)
    with closing(stage.run(resolved, rows, ledger, experiment, search, ui.warn)) as transcribed:
        for row in ui.progress(ledger.count_kept(transcribed), "transcribe", len(rows), "file"):
            if config.json:
                ui.echo(manifest.format_row(row).rstrip("\n"))
                continue
            name = "" if len(rows) == 1 else f"{row['audio_filepath']}\t"
            for partial in row.get("partials", []):
                ui.echo(f"{name}{partial['end']:.2f}\t{partial['text']}")
            ui.echo(f"{name}{row['pred_text']}")
    if ledger.rows or config.dropped:
        report_drops("transcribe", config, "-", ledger)
    ledger.enforce_max_bad("transcribe", config.max_bad)
