"""`ds2 transcribe EXP AUDIO…`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.captions import CaptionFiles
from ds2cli.cli.lib.filter import report_drops
from ds2cli.cli.lib.interrupt import ending_on_interrupt
from ds2cli.cli.lib.live import transcribe_live
from ds2cli.cli.lib.options import Exp, with_config
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.prepare import EACH
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

    Recordings may have any format and sample rate; channels are mixed down (--channel). --lm, --alpha, … work as in
    `ds2 decode`. --partials also prints the text as it grows: one line per change, preceded by the seconds of audio
    decoded. --timestamps prints a line per word instead of the text: its start and end (s), tab-separated. --nbest N
    prints N lines, the best first: score (nats) and text. With --json, they are fields of the row. --channel each
    transcribes each channel of a recording separately, such as the two sides of a call: its lines begin with `ch0` or
    `ch1`.

    A recording longer than --chunk is divided at pauses of the network's output, and each segment is decoded as an
    utterance of its own: `segments` of the row has their start, end (s), text, `conf` with --timestamps, and n-best
    list, which is not joined. Its `partials` begin again with each segment.

    Standard input may be a live stream: WAV of any length, FLAC, Ogg, MP3, WebM, or samples without a header
    (--raw-rate). Its text is printed segment by segment, as soon as each is final; Ctrl-C ends the stream, what was
    heard is transcribed, and the exit status is 130.

    --live, for a forward-only network, prints the text while it is spoken. On a terminal the last line is rewritten as
    the text grows; what may still change is dim. An utterance that has ended (--endpoint-silence, …) is printed as a
    line, and only these go to a pipe. --json prints an event per line instead: `type` is partial or final, with
    `start`, `end` (s) and `text`, of a partial one `stable` (characters that will hardly change), of a final one
    `conf` and `words` with --timestamps. Standard input that has no header is taken as 16-bit mono samples of the
    network's rate.

    Examples: ds2 transcribe exp/base meeting.mp3 voicemail/ --lm exp/base/lm.bin --json; ds2 transcribe exp/base
    talk.mp4 --srt subtitles/; arecord -f S16_LE -r 16000 -t raw | ds2 transcribe exp/base - --live
    """
    from ds2cli.recognizer.decoder import build_search, resolve_settings
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.recognizer.timing import resolve_timing
    from ds2cli.stages import transcribe as stage
    from ds2cli.stages.long_recording import Listener

    if config.timestamps and config.nbest and not config.json:
        raise UsageError("--timestamps and --nbest together need --json (their lines would be mixed)")
    if config.raw_rate is not None and not any(map(stage.is_live, audio)):
        raise UsageError("--raw-rate only applies to standard input (-) and pipes")
    if config.live and config.channel == EACH:
        raise UsageError("--live transcribes one channel: expected --channel mix or a number, got each")
    files = CaptionFiles(config, "pred_words", out="-", id_is_path=True)
    resolved, ledger = resolve_settings(config, exp, ui.warn), Ledger(needs_rows=True)
    # captions need word times, which are printed only on request
    searching = replace(resolved, timestamps=config.timestamps or config.needs_word_times)
    searching = resolve_timing(searching, exp) if searching.timestamps else searching
    if config.live:
        transcribe_live(config, searching, exp, audio, files, format_texts)
        return
    experiment = Experiment(exp, device=config.device, precision=config.precision, avoid_torch=True)
    rows = stage.list_recordings(audio, ledger)
    has_names = len(rows) > 1
    if config.channel == EACH:
        rows = stage.split_by_channel(rows, ledger)
    search = build_search(searching, experiment, ui.warn)
    printed: set[str] = set()

    def show(row: Row) -> None:
        name = f"{row['audio_filepath']}\t" if has_names else ""
        channel = f"ch{row['channel']}\t" if "channel" in row else ""
        for line in format_texts(row, config):
            ui.echo_data(f"{name}{channel}{line}")

    def show_segment(row: Row, segment: Row) -> None:
        printed.add(row["id"])
        show({**row, **segment})
        ui.flush()

    progress = ui.AudioProgress("transcribe", len(rows))

    def show_progress(row: Row, done_s: float, total_s: float | None) -> None:
        progress.within(row["audio_filepath"], done_s, total_s)

    only_live = all(map(stage.is_live, audio))
    listener = Listener(ui.warn, _ignore if config.json else show_segment, _ignore if only_live else show_progress)
    with files as captions, ending_on_interrupt(only_live) as ended, contextlib.ExitStack() as stack:
        transcribed = stage.run(searching, rows, ledger, experiment, search, listener, ended)
        stack.enter_context(closing(transcribed))
        if not only_live:
            stack.enter_context(progress)
        for row in ledger.count_kept(transcribed):
            captions.add(row)
            if config.json:
                ui.echo_data(manifest.format_row(row).rstrip("\n"))
            elif row["id"] not in printed:
                show(row)
            if not only_live:
                progress.finish()
        if not ended.is_set():
            stack.close()
            if ledger.rows or config.dropped:
                report_drops("transcribe", config, "-", ledger)
            ledger.enforce_max_bad("transcribe", config.max_bad)
    for warning in captions.warnings:
        ui.warn(warning)
    if ended.is_set():
        raise KeyboardInterrupt


def _ignore(*_: object) -> None:
    pass


def format_texts(row: Row, config: TranscribeConfig) -> Iterator[str]:
    """The lines of a recording: partial texts, then its words with times, its n-best lists, or its text."""
    for partial in row.get("partials", []):
        yield f"{partial['end']:.2f}\t{partial['text']}"
    lists = [segment.get("nbest") for segment in row.get("segments", [row])]
    if config.timestamps and row.get("pred_words"):
        for word in row["pred_words"]:
            yield f"{word['start']:.2f}\t{word['end']:.2f}\t{word['word']}"
    elif any(lists):
        for hypothesis in (hypothesis for hypotheses in lists for hypothesis in hypotheses):
            yield f"{hypothesis['score']:.2f}\t{hypothesis['text']}"
    else:
        yield row["pred_text"]
