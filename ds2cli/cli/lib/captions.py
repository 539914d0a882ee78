"""Write the word times of rows in the formats of other programs (`CaptionsConfig`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ds2cli import inputs
from ds2cli.atomic import replacing_files, together
from ds2cli.captions import audacity, elan, json_document, kaldi, srt, textgrid, vtt
from ds2cli.captions.cues import Cue, Limits, make_cues
from ds2cli.captions.names import FileNames, stem_of
from ds2cli.captions.spans import clean, tiers_of
from ds2cli.config.captions import OF_SUBTITLES, CaptionsConfig
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.io import open_out
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.transcripts.ctm import CtmWriter

Words = Sequence[Mapping[str, Any]]

FOLDERS = {
    "textgrid": textgrid.ENDING,
    "srt": srt.ENDING,
    "vtt": vtt.ENDING,
    "audacity": audacity.ENDING,
    "elan": elan.ENDING,
    "whisper_json": json_document.ENDING,
}
"""Settings that name a folder with a file per recording, and how the names of these files end."""


class CaptionFiles:
    """The files that the settings ask for, as a context: rows are added one by one, and keep what they have.

    All files appear at the end of the context, or at that of the `together` block around it; none after an error.

    field: of the words, "words" or "pred_words".  out: where the command writes its rows or texts.
    id_is_path: whether rows are named by the paths of their recordings. Files are named after the id, or the file.
    warnings: about the files, complete after the context.
    UsageError for settings that contradict each other, DataError for files that cannot be written.
    """

    def __init__(self, config: CaptionsConfig, field: str, out: str, *, id_is_path: bool = False) -> None:
        self.config, self.field, self.id_is_path = config, field, id_is_path
        self.warnings: list[str] = []
        self._limits = Limits(**{name: getattr(config, name) for name in OF_SUBTITLES})
        self._names = FileNames()
        self._stack = ExitStack()
        self._folders: dict[str, Path] = {}
        self._ctm: CtmWriter | None = None
        self._utterances: list[kaldi.Utterance] = []
        self._paths: dict[str, str] = {}
        self._channels: dict[str, int] = {}
        self._recordings: dict[tuple[str, str], str] = {}
        self._missing = 0
        self._is_needed = config.needs_word_times
        _check(config, out)

    def __enter__(self) -> CaptionFiles:
        with ExitStack() as stack:
            stack.enter_context(together())
            if self.config.ctm is not None:
                from ds2cli.transcripts.ctm import CtmWriter

                self._ctm = CtmWriter(stack.enter_context(open_out(self.config.ctm)))
            for name in FOLDERS:
                if (folder := getattr(self.config, name)) is not None:
                    self._folders[name] = stack.enter_context(replacing_files(folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with ExitStack() as stack:
            stack.push(self._stack)
            if error is not None:
                raise error
            self._finish()
        return None

    def add(self, row: Row) -> None:
        """Write the words of a row; a row without them is counted in a warning."""
        if not self._is_needed:
            return
        if self.field not in row:
            self._missing += 1
            return
        if self.id_is_path:
            row = {**row, "id": self._names.name(_stem_of(row))}
            name = row["id"]
        else:
            name = self._names.name(row["id"]) if self._folders else ""
        words = row[self.field]
        if self._ctm is not None:
            self._add_to_ctm(self._ctm, row, words)
        if self.config.kaldi_data is not None:
            self._add_utterances(row, words)
        formats = self._formats(row, words)
        for setting, folder in self._folders.items():
            text = formats[setting]()
            with _writing(getattr(self.config, setting)), (folder / (name + FOLDERS[setting])).open("wb") as f:
                f.write(text.encode("utf-8", "replace"))

    def _formats(self, row: Row, words: Words) -> dict[str, Callable[[], str]]:
        """A function for each setting of FOLDERS that returns the text of its file."""
        cues: list[Cue] | None = None

        def subtitles() -> list[Cue]:
            nonlocal cues
            if cues is None:
                cues = make_cues(words, self._limits, row.get("chars", ()), row.get("duration"))
            return cues

        return {
            "textgrid": lambda: textgrid.format_textgrid(tiers_of(row, words), row.get("duration", 0.0)),
            "srt": lambda: srt.format_srt(subtitles()),
            "vtt": lambda: vtt.format_vtt(subtitles()),
            "audacity": lambda: audacity.format_labels(words),
            "elan": lambda: elan.format_table(tiers_of(row, words)),
            "whisper_json": lambda: json_document.format_document(json_document.make_document(row, words)),
        }

    def _add_to_ctm(self, ctm: CtmWriter, row: Row, words: Words) -> None:
        try:
            ctm.add({**row, "pred_words": [{**word, "word": clean(word["word"])} for word in words]})
        except BadUtterance as e:
            raise DataError(f"--ctm: utterance {row['id']!r}: {e.detail}") from e

    def _add_utterances(self, row: Row, words: Words) -> None:
        from ds2cli.transcripts.ctm import recording_of

        (recording, _), offset = recording_of(row)
        channel = row.get("channel")
        # Kaldi's recordings have one channel; the rows of `ds2 segment` are named after the row of theirs
        if channel is not None and not recording.endswith(f"-ch{channel}"):
            recording = f"{recording}-ch{channel}"
        path = row.get("audio_filepath")
        if isinstance(path, str) and path and clean(path) == path:
            name = self._recordings.setdefault((recording, path), recording)
            # another file of the same name in another folder
            if self._paths.setdefault(name, path) != path:
                name = self._recordings[recording, path] = f"{recording}-{len(self._paths)}"
                self._paths[name] = path
            recording = name
            if channel is not None:
                self._channels[recording] = channel
        self._utterances += kaldi.make_utterances(row, words, recording, offset)

    def _finish(self) -> None:
        if self._ctm is not None:
            self._ctm.finish()
            if not self._ctm.is_sorted:
                self.warnings.append(
                    f"{self.config.ctm}: the recordings are not in order, which sclite expects "
                    "(sort -k1,1 -k2,2 -k3n,3)"
                )
        if (folder := self.config.kaldi_data) is not None:
            for name, text in kaldi.format_folder(self._utterances, self._paths, self._channels).items():
                with open_out(os.path.join(folder, name)) as f:
                    f.write(text)
            if without := len({u.recording for u in self._utterances} - self._paths.keys()):
                self.warnings.append(f"{folder}/wav.scp: recordings left out, as they have no audio file: {without}")
        if self._missing:
            self.warnings.append(f"utterances without {self.field}, which are in no file of words: {self._missing}")


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise DataError(f"{path}: cannot be written: {inputs.explain_error(e)}") from e


def _stem_of(row: Row) -> str:
    """The name of a recording that is known by its path, with its channel if it has one."""
    ending = f"-ch{row['channel']}" if "channel" in row else ""
    return f"{stem_of(row['id'].removesuffix(ending))}{ending}"


def _check(config: CaptionsConfig, out: str) -> None:
    """UsageError for a file that would be written twice, a folder that is a stream, or limits that allow no value."""
    if config.ctm == "-" and out == "-":
        raise UsageError("--ctm -: standard output already gets the results (name a file)")
    if config.ctm not in (None, "-") and out != "-" and os.path.realpath(config.ctm or "") == os.path.realpath(out):
        raise UsageError(f"{out} is to be written twice (give --ctm a name of its own)")
    files = {os.path.realpath(path) for path in (config.ctm, out) if path not in (None, "-")}
    for name in (*FOLDERS, "kaldi_data"):
        if (folder := getattr(config, name)) is None:
            continue
        if folder in ("-", "") or os.path.realpath(folder) in files:
            raise UsageError(f"--{name.replace('_', '-')} writes a folder of files, expected its name, got {folder!r}")
    if config.min_cue > config.max_cue:
        raise UsageError(f"--min-cue {config.min_cue:g} is longer than --max-cue {config.max_cue:g}")
