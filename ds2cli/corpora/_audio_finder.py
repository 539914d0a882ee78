"""Finds the recordings that a table names, in the folders near it."""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePosixPath

from ds2cli.audio.formats import AUDIO_SUFFIXES
from ds2cli.errors import BadUtterance
from ds2cli.manifest import base_folder

AUDIO_DIRS = (".", "clips", "wavs", "wav", "audio", "..")
_LONGEST_SHOWN = 80
_LONGEST_NAME = 255


class AudioFinder:
    """Finds the audio files of a table: in the given folder, or else in the usual folders near the table."""

    def __init__(self, source: str, audio_dir: str | None) -> None:
        folder = base_folder(source)
        # that of a file which the shell opens is absolute, unlike the paths that were given
        is_opened = source == "-" or source.startswith("/dev/")
        base = Path(os.path.relpath(folder or ".") if is_opened else folder)
        self._folders = [Path(audio_dir)] if audio_dir is not None else [base / name for name in AUDIO_DIRS]
        # a file in such a folder is not found, and only this says why
        self._closed = [str(f) for f in self._folders if f.is_dir() and not os.access(f, os.X_OK)]
        self._recordings = functools.cache(_list_recordings)

    def find(self, name: str) -> Path | None:
        """The file of an audio path, with or without its extension, with slashes or backslashes."""
        names = [name] if "\\" not in name else [name, name.replace("\\", "/")]
        for folder in self._folders:
            for path in (os.path.join(folder, n) for n in names):
                # unlike Path.is_file, false for any path that the system refuses
                found = path if os.path.isfile(path) else None if has_audio_ending(path) else self._with_ending(path)
                if found is not None:
                    # usually all files of a table are in the same folder: search it first from now on
                    self._folders.remove(folder)
                    self._folders.insert(0, folder)
                    return Path(os.path.normpath(found))
        return None

    def expect(self, name: str) -> Path:
        """Like `find`; where it finds nothing, the path where the file should be, or a BadUtterance that says why."""
        if "\0" in name:
            raise BadUtterance("wrong-type", f"the audio path {_shown(name)} contains a NUL character")
        if not is_file_name(name):
            raise BadUtterance("missing-audio", f"the audio path {_shown(name)} is a folder, expected a file")
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in name.split("/")):
            raise BadUtterance("missing-audio", f"the audio path {_shown(name)} is too long for a file name")
        path = self.find(name)
        if path is not None:
            return path
        if self._closed:
            folders = ", ".join(self._closed)
            raise BadUtterance("missing-audio", f"no file {_shown(name)}, but {folders} cannot be entered (chmod u+x)")
        return self._folders[0] / name

    def looks_like_audio(self, name: object) -> bool:
        """Whether a cell is an audio path: by its ending, or because there is such a file."""
        return isinstance(name, str) and name != "" and (has_audio_ending(name) or self.find(name) is not None)

    def _with_ending(self, path: str) -> str | None:
        folder, stem = os.path.split(path)
        return self._recordings(folder).get(stem)


def has_audio_ending(name: str) -> bool:
    """Whether a name ends like that of a recording, in upper or lower case."""
    return PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES


def is_file_name(name: str) -> bool:
    """Whether a path has a last part that may be a file, unlike `.` or `a/..`."""
    return Path(os.path.normpath(name)).name not in ("", "..")


def _list_recordings(folder: str) -> dict[str, str]:
    """The recordings in a folder by their names without the ending; the first in order if several share one."""
    try:
        files = sorted(Path(folder).iterdir(), reverse=True)
    # ValueError: a NUL character
    except (OSError, ValueError):
        return {}
    return {file.stem: str(file) for file in files if has_audio_ending(file.name)}


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…")
