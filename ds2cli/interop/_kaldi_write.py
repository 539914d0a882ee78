"""Write a data folder of Kaldi."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ds2cli.captions.kaldi import read_command
from ds2cli.config.interop import KaldiExport
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.interop import _kaldi_extra as kept
from ds2cli.interop._decimals import add_seconds, format_seconds
from ds2cli.interop._extra import difference
from ds2cli.interop._found import sort_items
from ds2cli.interop._kaldi_plan import LETTERS, Plan, kaldi_text, make_plan, recording_key, speaker_of
from ds2cli.interop._kaldi_row import make_row, text_of
from ds2cli.interop._own_files import remove_others
from ds2cli.interop._recordings import parse_read_command
from ds2cli.interop._tables import Value
from ds2cli.io import open_out
from ds2cli.manifest import Row, map_paths

OpenRows = Callable[[Ledger], Iterator[Row]]

FILES = (
    *("wav.scp", "segments", "reco2file_and_channel", "text", "utt2spk", "spk2utt", "spk2gender"),
    *("utt2lang", "utt2dur", "utt2num_frames", "feats.scp", kept.NAME),
)
_OF_RECORDINGS = ("wav.scp", "reco2file_and_channel")
"""Files that name recordings, not utterances, if there are segments."""

SYMBOLS = ("<s>", "</s>", "#0")
"""Words that Kaldi uses itself."""

OTHER_FILES = ("cmvn.scp", "vad.scp", "reco2dur", "spk2warp", "utt2warp", "utt2uniq", "text.gz", "wav.scp.gz")
"""Files that would no longer belong to the others."""


def write(open_rows: OpenRows, folder: str, config: KaldiExport, ledger: Ledger) -> None:
    """Write the files of a data folder; all that name utterances have the same ids, in the same order."""
    plan = make_plan(open_rows(Ledger()))
    prefix = config.prefix_speaker and plan.breaks > 0
    ledger.notes.extend(_describe_plan(plan, config))
    writer, faults = _Writer(folder, plan, config), Counter[str]()
    with writer:
        for utterance, row in _utterances(open_rows(ledger), prefix):
            try:
                writer.add(utterance, row, faults)
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
                continue
            ledger.kept += 1
    remove_others(folder, [*FILES, *OTHER_FILES], writer.written)
    ledger.notes.extend(f"{number} {fault}" for fault, number in sorted(faults.items()))


def _utterances(rows: Iterable[Row], prefix: bool) -> Iterator[tuple[str, Row]]:
    """The rows by their ids in Kaldi, in order."""
    if not prefix:
        yield from ((row["id"], row) for row in rows)
        return
    for item, _ in sort_items(({"id": _prefixed(row), "row": row}, False) for row in rows):
        yield item["id"], item["row"]


def _prefixed(row: Row) -> str:
    speaker, name = speaker_of(row), str(row["id"])
    return name if name.startswith(f"{speaker}-") or name == speaker else f"{speaker}-{name}"


class _Writer:
    """The open files of a folder, which appear together at the end of its `with` block.

    written: the names of the files.
    """

    def __init__(self, folder: str, plan: Plan, config: KaldiExport) -> None:
        self._folder, self._plan, self._stack = folder, plan, contextlib.ExitStack()
        self._path = os.path.abspath if config.paths == "absolute" else _from_here
        self._ffmpeg = config.ffmpeg
        self._utterances: dict[str, list[str]] = {}
        self._recordings: dict[str, dict[str, str]] = {}
        self._last_speaker = ""
        self._files: dict[str, TextIO] = {}
        self.written = ["utt2spk", "spk2utt", kept.NAME]
        names = {"text": "text", "lang": "utt2lang", "duration": "utt2dur", "num_frames": "utt2num_frames"}
        self.written += [file for name, file in names.items() if plan.complete(name)]
        if plan.complete("feats"):
            self.written.append("feats.scp")
        if plan.complete("audio_filepath") or plan.has_segments:
            self.written.append("wav.scp")
            self.written += ["segments"] if plan.has_segments else []
            self.written += ["reco2file_and_channel"] if plan.has_channels else []
        if plan.genders:
            self.written.append("spk2gender")

    def __enter__(self) -> _Writer:
        with contextlib.ExitStack() as stack:
            for name in self.written:
                self._files[name] = stack.enter_context(open_out(os.path.join(self._folder, name)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._write_speakers()
            self._write_recordings()
        self._stack.__exit__(kind, *rest)  # type: ignore[arg-type]

    def add(self, utterance: str, row: Row, faults: Counter[str]) -> None:
        """Write the lines of a row. BadUtterance if Kaldi cannot use it."""
        values = self._values(row)
        row = map_paths(row, self._path)
        speaker = values["utt2spk"]
        genders = {speaker: self._plan.genders[speaker]} if self._plan.genders else {}
        derived = make_row(utterance, values, genders, self._derived_path)
        for name, value in values.items():
            if name in self._files and not (self._plan.has_segments and name in _OF_RECORDINGS):
                self._files[name].write(f"{utterance} {value}".rstrip(" ") + "\n")
        self._files[kept.NAME].write(kept.format_extra(utterance, difference(row, derived)))
        if self._plan.has_segments:
            entries = {name: values[name] for name in _OF_RECORDINGS if name in values}
            self._recordings.setdefault(derived["recording"], entries)
        self._utterances.setdefault(speaker, []).append(utterance)
        faults.update(_find_faults(values.get("text"), row))
        if speaker < self._last_speaker:
            faults["ids are not in the order of their speakers, which Kaldi refuses (--no-spk-sort accepts it)"] += 1
        self._last_speaker = speaker

    def _values(self, row: Row) -> dict[str, str]:
        """The values of the files of an utterance, and of its recording."""
        plan, values = self._plan, {"utt2spk": speaker_of(row)}
        if "wav.scp" in self._files:
            if not row.get("audio_filepath"):
                raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing, which `segments` needs")
            values["wav.scp"] = self._readable_path(row["audio_filepath"], row.get("channel"))
            if plan.has_channels:
                file = "_".join(Path(row["audio_filepath"]).stem.split())
                values["reco2file_and_channel"] = f"{file} {LETTERS[row.get('channel', 0)]}"
        if plan.has_segments:
            if not row.get("duration"):
                raise BadUtterance("no-duration", "`segments` needs the duration of each row (ds2 prepare states it)")
            start, recording = row.get("offset", 0.0), plan.recordings[recording_key(row)]
            values["segments"] = f"{recording} {format_seconds(start)} {add_seconds(start, row['duration'])}"
        if plan.complete("duration"):
            values["utt2dur"] = format_seconds(row["duration"])
        if plan.complete("text"):
            values["text"] = kaldi_text(row["text"])
        if plan.complete("lang"):
            values["utt2lang"] = row["lang"]
        if plan.complete("num_frames"):
            values["utt2num_frames"] = str(row["num_frames"])
        if plan.complete("feats"):
            values["feats.scp"] = self._path(row["feats"])
        return values

    def _derived_path(self, value: Value, _: str) -> str:
        """The file that an import finds for an entry of wav.scp."""
        own = parse_read_command(text_of(value)) if self._ffmpeg else None
        return own[0] if own else text_of(value)

    def _readable_path(self, path: str, channel: int | None) -> str:
        if path != path.strip() or path.endswith("|") or path.startswith("|") or "\n" in path:
            detail = f"{path!r}: Kaldi reads this as something else than a file (rename it)"
            raise BadUtterance("unusable-path", detail)
        return read_command(path, channel) if self._ffmpeg else self._path(path)

    def _write_speakers(self) -> None:
        for speaker in sorted(self._utterances):
            self._files["spk2utt"].write(f"{speaker} {' '.join(self._utterances[speaker])}\n")
            if self._plan.genders:
                self._files["spk2gender"].write(f"{speaker} {self._plan.genders[speaker]}\n")

    def _write_recordings(self) -> None:
        for recording in sorted(self._recordings):
            for name, value in self._recordings[recording].items():
                self._files[name].write(f"{recording} {value}\n")


def _from_here(path: str) -> str:
    """A path from the current folder; Kaldi refuses one that begins with a tilde."""
    return os.path.join(".", path) if path.startswith("~") else path


def _describe_plan(plan: Plan, config: KaldiExport) -> Iterator[str]:
    """What Kaldi may refuse, or reads differently."""
    if plan.breaks and not config.prefix_speaker:
        yield (
            f"the order of ids is not that of the speakers at {plan.breaks} places, which Kaldi refuses "
            "(--prefix-speaker begins each id with its speaker)"
        )
    elif plan.breaks:
        yield "each id begins with its speaker, as the order of ids was not that of the speakers"
    for name, file in (("text", "text"), ("lang", "utt2lang"), ("feats", "feats.scp"), ("duration", "utt2dur")):
        if 0 < plan.has[name] < plan.rows:
            yield f"{plan.rows - plan.has[name]} rows have no {name}: no {file} is written, as it must list all rows"
    if plan.has["other channel"]:
        yield "channels from the third on have no letter: no reco2file_and_channel is written"
    if plan.has["channel"] and not config.ffmpeg:
        yield "wav.scp names files of which Kaldi itself reads the first channel (--ffmpeg selects that of the row)"


def _find_faults(text: str | None, row: Row) -> Iterator[str]:
    """What utils/validate_data_dir.sh refuses in a text, or reads differently in a row."""
    if text == "":
        yield "texts have no words"
    elif text is not None:
        if any(symbol in text for symbol in SYMBOLS) and not set(SYMBOLS).isdisjoint(text.split(" ")):
            yield f"texts have words that Kaldi reserves: {' '.join(SYMBOLS)}"
        if not text.isprintable():
            yield "texts have characters that cannot be printed, which Kaldi refuses (--non-print accepts them)"
    if row.get("speed", 1.0) != 1.0:
        yield "rows have another speed than their recording, which Kaldi has no field for"
