"""`ds2 transcribe EXP AUDIO…`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import report_drops
from ds2cli.cli.lib.options import Exp, with_config
from ds2cli.config.decode import TranscribeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.manifest import Row


@with_config(TranscribeConfig)
def transcribe(
    config: TranscribeConfig,
    exp: Exp,
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO…", help="Audio files and folders; - is standard input.")],
) -> None:
    """Transcribe recordings: print the text of each, one line per file, preceded by the file name if there are several.

    Recordings may have any format and sample rate; channels are mixed down. --lm, --alpha, … work as in `ds2 decode`.
    --partials also prints the text as it grows: one line per change, preceded by the seconds of audio decoded.
    --timestamps prints a line per word instead of the text: its start and end (s), tab-separated. --nbest N prints
    N lines, the best first: score (nats) and text. With --json, they are fields of the row.

    Example: ds2 transcribe exp/base meeting.mp3 voicemail/ --lm exp/base/lm.bin --json
    """
    from ds2cli.recognizer.decoder import build_search, resolve_settings
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import transcribe as stage

    if config.timestamps and config.nbest and not config.json:
        raise UsageError("--timestamps and --nbest together need --json (their lines would be mixed)")
    resolved, ledger = resolve_settings(config, exp, ui.warn), Ledger(needs_rows=True)
    experiment = Experiment(exp, device=config.device, precision=config.precision)
    rows = stage.list_recordings(audio, ledger)
    search = build_search(resolved, experiment, ui.warn)
    with closing(stage.run(resolved, rows, ledger, experiment, search, ui.warn)) as transcribed:
        for row in ui.progress(ledger.count_kept(transcribed), "transcribe", len(rows), "file"):
            if config.json:
                ui.echo_data(manifest.format_row(row).rstrip("\n"))
                continue
            name = "" if len(rows) == 1 else f"{row['audio_filepath']}\t"
            for line in format_texts(row):
                ui.echo_data(f"{name}{line}")
    if ledger.rows or config.dropped:
        report_drops("transcribe", config, "-", ledger)
    ledger.enforce_max_bad("transcribe", config.max_bad)


def format_texts(row: Row) -> Iterator[str]:
    """The lines of a recording: partial texts, then its words with times, its n-best list, or its text."""
    for partial in row.get("partials", []):
        yield f"{partial['end']:.2f}\t{partial['text']}"
    if row.get("pred_words"):
        for word in row["pred_words"]:
            yield f"{word['start']:.2f}\t{word['end']:.2f}\t{word['word']}"
    elif row.get("nbest"):
        for hypothesis in row["nbest"]:
            yield f"{hypothesis['score']:.2f}\t{hypothesis['text']}"
    else:
        yield row["pred_text"]
