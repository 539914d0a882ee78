"""Find the recordings in a folder, and account for everything else that lies there."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ds2cli import inputs
from ds2cli.audio.formats import AUDIO_SUFFIXES
from ds2cli.errors import BadUtterance, DataError

_NO_RECORDINGS = re.compile(
    # of macOS, Windows and storage systems
    r"\._.*|\.DS_Store|__MACOSX|\.AppleDouble|\.Spotlight-V100|\.Trashes|\.fseventsd|\.TemporaryItems|Icon\r|"
    r"Thumbs\.db|desktop\.ini|\$RECYCLE\.BIN|System Volume Information|@eaDir|lost\+found|\.Trash-\d+|\.nfs[0-9a-f]+|"
    # of version control, notebooks and editors
    r"\.git|\.hg|\.svn|\.ipynb_checkpoints|\.#.*|"
    # of ds2: unfinished files, manifests and what is written next to them
    r"\.\d+\.part\..*|.*\.jsonl(\.gz)?(\.config\.toml)?",
    re.IGNORECASE,
)
"""Names of files and folders that are passed over, because they never are recordings of the user."""


@dataclass(frozen=True)
class Recording:
    """A recording in a folder. text: the .txt file of the same name next to it, if there is one."""

    path: Path
    text: Path | None


@dataclass(frozen=True)
class Left:
    """What is left over in a folder, and why. bad: whether a recording may be lost; otherwise it is only counted."""

    path: Path
    error: BadUtterance
    bad: bool = True


def find_audio(folder: str | os.PathLike[str]) -> tuple[list[Recording], list[Left]]:
    """The recordings in a folder and its subfolders, each with its text, and all that is left over, sorted by path.

    A recording has one of AUDIO_SUFFIXES, or FFmpeg finds audio in it. The rest, except for other hidden files, are
    errors: "unreadable-folder", "unreadable-file", "broken-link", "missing-audio" (a link to no recording),
    "unreadable-audio" (a pipe or a device), and, not counted as bad, "repeated-folder", "no-recording" (a text without
    a recording) and "other-file".
    DataError if the folder itself cannot be read, or has no recordings and nothing that hides some.
    """
    # it loads the decoders, which the help of prepare does not need
    from ds2cli.audio.read import is_audio

    files, left = walk_files(folder)
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    recordings = []
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".txt" or (path.name.startswith(".") and suffix not in AUDIO_SUFFIXES):
            continue
        if suffix in AUDIO_SUFFIXES or is_audio(path):
            recordings.append(path)
        elif os.access(path, os.R_OK):
            left.append(Left(path, BadUtterance("other-file", f"{path}: no audio in it"), bad=False))
        else:
            left.append(Left(path, BadUtterance("unreadable-file", f"{path}: permission denied")))
    paired = pair_texts(recordings, texts)
    unpaired = set(texts) - set(paired.values())
    left += [Left(path, _no_recording(path), bad=False) for path in unpaired]
    left.sort(key=lambda item: item.path)
    if not recordings and not any(item.bad for item in left):
        rest = f", only {left[0].path}{f' and {len(left) - 1} more' if left[1:] else ''}" if left else ""
        raise DataError(f"{folder}: no audio files in this folder{rest}: expected .wav, .flac, .mp3, …")
    return [Recording(path, paired.get(path)) for path in recordings], left


def _no_recording(text: Path) -> BadUtterance:
    return BadUtterance("no-recording", f"{text}: no recording of this name, or it has another text")


def pair_texts(recordings: Iterable[Path], texts: Iterable[Path]) -> dict[Path, Path]:
    """The text of each recording that has one: the file of the same name, or else that which differs only in case."""
    exact: dict[Path, Path] = {}
    folded: dict[tuple[Path, str], list[Path]] = {}
    # of a.txt and a.TXT, the first is the text
    for path in sorted(texts, key=lambda path: (path.suffix != ".txt", path)):
        exact.setdefault(path.with_suffix(""), path)
        folded.setdefault((path.parent, path.stem.casefold()), []).append(path)
    paired = {}
    for path in recordings:
        candidates = folded.get((path.parent, path.stem.casefold()), [])
        text = exact.get(path.with_suffix("")) or (candidates[0] if len(candidates) == 1 else None)
        if text is not None:
            paired[path] = text
    return paired


def walk_files(folder: str | os.PathLike[str]) -> tuple[list[Path], list[Left]]:
    """The files below a folder, sorted, and an error for each thing that cannot be entered or is no file.

    Links are followed, after the folders proper, and each folder is searched once. Files of the operating system and
    unfinished ones are passed over. DataError if the folder itself cannot be read.
    """
    start = Path(folder)
    files: list[Path] = []
    left: list[Left] = []
    seen = _enclosing_folders(start)
    links = deque([start])
    while links:
        folders = [links.popleft()]
        while folders:
            here = folders.pop()
            try:
                with os.scandir(here) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as e:
                if here == start:
                    raise DataError(f"{folder}: {_folder_error(e)}") from e
                left.append(Left(here, BadUtterance("unreadable-folder", f"{here}: {_folder_error(e)}")))
                continue
            identity = _identity(here)
            if identity in seen:
                detail = f"{here} leads back to {seen[identity]}"
                left.append(Left(here, BadUtterance("repeated-folder", detail), bad=False))
                continue
            seen[identity] = here
            subfolders: list[Path] = []
            for entry in (entry for entry in entries if not _NO_RECORDINGS.fullmatch(entry.name)):
                path = here / entry.name
                try:
                    is_folder = _is_folder(entry, path)
                except BadUtterance as e:
                    left.append(Left(path, e, bad=e.reason != "other-file"))
                    continue
                if is_folder:
                    (links if entry.is_symlink() else subfolders).append(path)
                else:
                    files.append(path)
            folders += reversed(subfolders)
    return sorted(files), left


def _is_folder(entry: os.DirEntry[str], path: Path) -> bool:
    """Whether an entry is a folder rather than a file, or a link to one; BadUtterance if it is neither."""
    suffix = path.suffix.lower()
    try:
        if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
            return entry.is_dir(follow_symlinks=False)
        mode = entry.stat().st_mode
    except OSError as e:
        # the recording with this text says that it cannot be read
        if suffix == ".txt":
            return False
        reason = "missing-audio" if suffix in AUDIO_SUFFIXES else "broken-link"
        raise BadUtterance(reason, f"{path} -> {os.path.realpath(path)}: {inputs.explain_error(e)}") from e
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return stat.S_ISDIR(mode)
    reason = "unreadable-audio" if suffix in AUDIO_SUFFIXES else "other-file"
    raise BadUtterance(reason, f"{path} is a pipe, a socket or a device, expected a file")


def _enclosing_folders(folder: Path) -> dict[tuple[int, int] | None, Path]:
    """The folders above a folder: a link to one of them is a loop. Empty if the current folder was removed."""
    try:
        return {_identity(path): path for path in Path(os.path.realpath(folder)).parents}
    except OSError:
        return {}


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _folder_error(e: OSError) -> str:
    if isinstance(e, FileNotFoundError):
        return "no such folder"
    if isinstance(e, NotADirectoryError):
        return f"this is {inputs.describe_special(e.filename) or 'a file'}, expected a folder"
    return inputs.explain_error(e)
