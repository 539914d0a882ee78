"""Recordings that are no files: the output of shell commands and parts of archives, stored as files on request."""

from __future__ import annotations

import os
import re
import shlex
import struct
import subprocess
from pathlib import Path

from ds2cli import inputs
from ds2cli.captions.kaldi import read_command
from ds2cli.config.interop import CommandOptions
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.io import open_out_bytes

LONGEST_SHOWN = 80
TIMEOUT_S = 600
"""A command that takes longer than this is stopped."""

_IN_ARCHIVE = re.compile(r"(.+):(\d+)")
_OWN_COMMAND = re.compile(r"ffmpeg -nostdin -v error -i (.+) (?:-ac 1|-af 'pan=mono\|c0=c(\d{1,3})') -f wav - \|")
_NOT_IN_NAMES = re.compile(r"[^\w.+-]+")


class Recordings:
    """Finds the file of a recording, or makes it in --audio-dir.

    root: folder that relative paths start from.  UsageError for --allow-commands without --audio-dir.
    """

    def __init__(self, config: CommandOptions, root: str | None) -> None:
        if config.allow_commands and not config.audio_dir:
            raise UsageError("--allow-commands: expected a folder for what the commands write (--audio-dir DIR)")
        self._allows = config.allow_commands
        self._folder = config.audio_dir
        self._root = root or ""
        self._made: dict[str, str] = {}

    def join(self, path: str) -> str:
        """A path of the source from the current folder."""
        return os.path.join(self._root, path) if self._root else path

    def find_entry(self, value: str | BadUtterance, name: str) -> str:
        """`find`, also for an entry that could not be read."""
        if isinstance(value, BadUtterance):
            raise value
        return self.find(value, name)

    def find(self, value: str, name: str) -> str:
        """The file of an entry of wav.scp: a path, `path:byte` in an archive, or a command that ends with `|`.

        name: of the recording, which a file that is made gets. BadUtterance if there is none.
        """
        value = value.strip()
        if value.endswith("|"):
            own = parse_read_command(value)
            return own[0] if own else self.run(value[:-1], name)
        if not value or value == "-" or value.startswith("|"):
            raise BadUtterance("no-recording", f"{value!r} is not a recording: expected a path, or a command with | ")
        path = self.join(value)
        if (part := _IN_ARCHIVE.fullmatch(path)) and not Path(path).is_file():
            return self._extract(part[1], int(part[2]), name)
        return path

    def run(self, command: str, name: str) -> str:
        """The file with what a shell command writes to its standard output."""
        if not self._allows:
            fix = "--allow-commands --audio-dir DIR runs it, if you trust the source"
            raise BadUtterance("command", f"the recording is the output of {_shown(command)!r} ({fix})")
        try:
            done = subprocess.run(
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=self._root or None,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BadUtterance("command-failed", f"{_shown(command)!r} did not end within {TIMEOUT_S} s") from None
        except (OSError, ValueError) as e:
            raise BadUtterance("command-failed", f"{_shown(command)!r}: {e}") from e
        if done.returncode or not done.stdout:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1][:200] if lines else f"status {done.returncode}, {len(done.stdout)} bytes"
            raise BadUtterance("command-failed", f"{_shown(command)!r} made no recording: {reason}")
        return self._store(done.stdout, name, f"| {command}")

    def _extract(self, archive: str, byte: int, name: str) -> str:
        """The file with the WAV recording that starts at this byte of an archive."""
        if self._folder is None:
            fix = "--audio-dir DIR stores such recordings as files"
            raise BadUtterance("in-archive", f"the recording is a part of {archive} ({fix})")
        try:
            inputs.require_file(archive)
            with Path(archive).open("rb") as f:
                f.seek(byte)
                head = f.read(8)
                if len(head) < 8 or head[:4] != b"RIFF":
                    raise BadUtterance("not-audio", f"{archive}:{byte}: expected a WAV recording, found {head[:4]!r}")
                size = struct.unpack("<I", head[4:])[0]
                data = f.read(size)
        except (OSError, ValueError) as e:
            reason = inputs.explain_error(e) if isinstance(e, OSError) else str(e)
            raise BadUtterance("missing-audio", f"{archive}: {reason}") from e
        if len(data) < size:
            raise BadUtterance("truncated-audio", f"{archive} ends within the recording at byte {byte}")
        return self._store(head + data, name, f"{archive}:{byte}")

    def _store(self, data: bytes, name: str, source: str) -> str:
        path = os.path.join(self._folder or "", f"{_NOT_IN_NAMES.sub('_', name)[:200]}.wav")
        # two names may differ only in letters that a file name cannot have
        while self._made.setdefault(path, source) != source:
            path = f"{path.removesuffix('.wav')}_.wav"
        with open_out_bytes(path) as f:
            f.write(data)
        return path


def parse_read_command(value: str) -> tuple[str, int | None] | None:
    """The file and the channel of a command that ds2 has written for Kaldi, which need not be run; None for others."""
    found = _OWN_COMMAND.fullmatch(value)
    if found is None:
        return None
    try:
        words = shlex.split(found[1])
    except ValueError:
        return None
    channel = int(found[2]) if found[2] else None
    return (words[0], channel) if len(words) == 1 and read_command(words[0], channel) == value else None


def _shown(command: str) -> str:
    command = command.strip()
    return command if len(command) <= LONGEST_SHOWN else f"{command[:LONGEST_SHOWN]}…"
