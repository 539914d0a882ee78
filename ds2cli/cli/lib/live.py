"""`ds2 transcribe --live`: results while a recording is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ds2cli import ui
from ds2cli.cli.lib.captions import CaptionFiles
from ds2cli.cli.lib.filter import report_drops
from ds2cli.cli.lib.interrupt import ending_on_interrupt
from ds2cli.config.decode import TranscribeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.manifest import Row
from ds2cli.ui_live import LiveLine

if TYPE_CHECKING:
    from ds2cli.recognizer.utterances import Result


def transcribe_live(
    config: TranscribeConfig,
    searching: TranscribeConfig,
    exp: str,
    audio: Sequence[str],
    files: CaptionFiles,
    format_texts: Callable[[Row, TranscribeConfig], Iterator[str]],
) -> None:
    """Print the results of the one recording in `audio`; KeyboardInterrupt after a Ctrl-C that ended it.

    searching: the settings as resolved.  format_texts: the lines of a row.
    """
    from ds2cli.recognizer.decoder import build_search
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import live
    from ds2cli.stages.transcribe import is_live, list_recordings

    if config.chunk != TranscribeConfig.chunk:
        raise UsageError("--chunk has no effect with --live")
    ledger = Ledger(needs_rows=True)
    rows = list_recordings(audio, ledger)
    if len(rows) != 1:
        raise UsageError(f"--live transcribes one recording: expected one AUDIO, got {len(rows)}")
    # one stream is faster on a CPU, and torch takes seconds to load
    device = "cpu" if config.device == "auto" else config.device
    experiment = Experiment(exp, device=device, precision=config.precision, avoid_torch=True)
    search = build_search(searching, experiment, ui.warn)
    (row,) = rows
    with files as captions, ending_on_interrupt(is_live(row["audio_filepath"])) as ended:
        with LiveLine() as line, closing(live.run(searching, row, experiment, search, line.warn, ended)) as results:
            try:
                for result in results:
                    _print(result, config, line, format_texts)
                captions.add(row)
                ledger.kept += 1
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
        if not ended.is_set():
            if ledger.rows or config.dropped:
                report_drops("transcribe", config, "-", ledger)
            ledger.enforce_max_bad("transcribe", config.max_bad)
    for warning in captions.warnings:
        ui.warn(warning)
    if ended.is_set():
        raise KeyboardInterrupt


def _print(
    result: Result,
    config: TranscribeConfig,
    line: LiveLine,
    format_texts: Callable[[Row, TranscribeConfig], Iterator[str]],
) -> None:
    if config.json:
        line.echo(json.dumps(event_of(result), ensure_ascii=False))
    elif result.final:
        for text in format_texts(fields_of(result), config):
            line.echo(text)
        line.clear()
    elif config.partials is not None:
        line.echo(f"{result.end_s:.2f}\t{result.text}")
    else:
        line.show(result.text, result.stable)


def fields_of(result: Result) -> Row:
    """A final result as the fields of a row."""
    optional = {"pred_words": result.words, "nbest": result.nbest}
    return {"pred_text": result.text, **{name: value for name, value in optional.items() if value is not None}}


def event_of(result: Result) -> dict[str, Any]:
    """A result as a line of --json."""
    fields = {"start": result.start_s, "end": result.end_s, "text": result.text}
    if not result.final:
        return {"type": "partial", **fields, "stable": result.stable}
    optional = {"conf": result.confidence, "words": result.words, "nbest": result.nbest}
    return {"type": "final", **fields, **{name: value for name, value in optional.items() if value is not None}}
