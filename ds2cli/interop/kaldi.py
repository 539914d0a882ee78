"""Kaldi's data folders, which ESPnet, icefall and WeNet read, too: wav.scp, segments, text, utt2spk, feats.scp.

Import     SRC is the folder; files may end in .gz. Of reco2file_and_channel, utt2dur, reco2dur, utt2lang, spk2gender
           and utt2num_frames, those that exist are used. A segment that ends at -1 ends with its recording.
Commands   A recording that is the output of a command (`sph2pipe … |`) is dropped; --allow-commands runs the commands
           and stores their output in --audio-dir, where recordings of archives (wav.ark) are stored, too. The ffmpeg
           commands that ds2 writes itself are not run: the files that they name are read.
Dropped    Utterances without a recording, segment or text, lines that repeat an id or are not UTF-8, features that are
           a part of a matrix (`[0:99]`) or come from a command.
Export     Files that utils/validate_data_dir.sh accepts, with `segments` if rows have an offset. Kaldi expects ids in
           the order of their speakers (--prefix-speaker), and reads WAV files of one channel, others only through
           commands (--ffmpeg). What Kaldi has no file for is kept in ds2.jsonl.

Example: ds2 data import kaldi data/train train.jsonl

Example: ds2 data export kaldi train.jsonl data/train
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ds2cli.config.interop import KaldiExport, KaldiImport
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.interop._extra import restore
from ds2cli.interop._found import Found, Item
from ds2cli.interop._kaldi_extra import NAME as MAIN
from ds2cli.interop._kaldi_extra import has_renamed, read_extra
from ds2cli.interop._kaldi_row import RECORDING_FILES, UTTERANCE_FILES, Find, make_row, recording_of, text_of
from ds2cli.interop._kaldi_write import FILES, write
from ds2cli.interop._recordings import Recordings, parse_read_command
from ds2cli.interop._tables import Table, Value, join_entries

__all__ = ["FILES", "MAIN", "ExportOptions", "ImportOptions", "read", "write"]

ImportOptions = KaldiImport
ExportOptions = KaldiExport

Tables = Mapping[str, Table]


def read(source: str, config: KaldiImport, ledger: Ledger) -> Found:
    """The utterances of a data folder, which is in order."""
    if not Path(source).is_dir():
        raise DataError(f"{source}: no such folder, expected a data folder of Kaldi")
    names = [*RECORDING_FILES, *UTTERANCE_FILES, "segments", "spk2gender"]
    tables = {name: Table(source, name, ledger) for name in names}
    if not any(tables[name].path for name in ("wav.scp", "feats.scp")):
        raise DataError(f"{source}: no wav.scp and no feats.scp in this folder, expected a data folder of Kaldi")
    if tables["segments"].path and not tables["wav.scp"].path:
        raise DataError(f"{source}: a segments file, but no wav.scp, which names the recordings")
    items = _read_utterances(source, tables, Recordings(config, config.root), ledger)
    return Found(items, in_order=not has_renamed(source))


def _read_utterances(source: str, tables: Tables, files: Recordings, ledger: Ledger) -> Iterator[Item]:
    has_segments = tables["segments"].path is not None
    main = "segments" if has_segments else "wav.scp" if tables["wav.scp"].path else "feats.scp"
    names = [main, *UTTERANCE_FILES, *(() if has_segments else RECORDING_FILES)]
    entries = {name: tables[name].entries() for name in names if tables[name].path}
    recordings = {name: tables[name].read() for name in RECORDING_FILES} if has_segments else {}
    genders, find = tables["spk2gender"].read(), _remembering(files) if has_segments else files.find_entry
    extras, used = read_extra(source), set[str]()
    extra = next(extras, None)
    for utterance, values in join_entries(entries):
        while extra is not None and extra[0] < utterance:
            extra = next(extras, None)
        try:
            if main not in values:
                reason = "no-segment" if has_segments else "no-recording"
                raise BadUtterance(reason, f"{source}: in {', '.join(values)}, but not in {main}")
            if has_segments:
                recording = recording_of(values["segments"])
                used.add(recording)
                values |= {name: table[recording] for name, table in recordings.items() if recording in table}
            if tables["text"].path and "text" not in values:
                raise BadUtterance("no-text", f"{source}: in {', '.join(values)}, but not in text")
            row = make_row(utterance, values, genders, find)
        except BadUtterance as e:
            ledger.drop_error(utterance, e)
            continue
        if extra is not None and extra[0] == utterance:
            yield restore(row, extra[1]), True
            continue
        command = str(values.get("wav.scp", ""))
        if command.endswith("|"):
            # the command has selected the channel; one of ds2 is not run, and its file has all of them
            row.pop("channel", None)
            if (own := parse_read_command(command)) and own[1] is not None:
                row["channel"] = own[1]
        yield row, False
    if unused := len(recordings.get("wav.scp", {}).keys() - used):
        ledger.notes.append(f"{unused} recordings of wav.scp have no segment")


def _remembering(files: Recordings) -> Find:
    """`files.find_entry` that remembers the file of each recording, as several segments are of one."""
    found: dict[str, str | BadUtterance] = {}

    def find(value: Value, name: str) -> str:
        if name not in found:
            try:
                found[name] = files.find_entry(value, name)
            except BadUtterance as e:
                found[name] = e
        return text_of(found[name])

    return find
