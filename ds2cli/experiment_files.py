"""The files of an experiment: those in its folder, or those in a bundle, the one file that `ds2 export` writes.

A bundle is a zip archive of stored members, which have the names of the files in a folder: unpacked, it is an
experiment again. Its first member, the card, lists the others with their sizes and hashes. Nothing is unpacked to be
used, nothing in it is code, and what a member may be called, and how large it may be, is known.
"""

from __future__ import annotations

import hashlib
import mmap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds2cli import inputs
from ds2cli.config.base import parse_toml, read_toml
from ds2cli.errors import DataError, UsageError
from ds2cli.stored_zip import MAGIC, PAGE, Member, read_members

SUFFIX = ".ds2"
"""End of the names of bundles."""

FORMAT = 1
"""Version of bundles, raised when an older ds2 cannot read them."""

CARD, NETWORK, LM = "bundle.toml", "best.safetensors", "lm.bin"
LICENSE, CLIP, EXPECTED = "LICENSE.txt", "clip.wav", "clip.safetensors"

MIB = 1 << 20
LIMITS = {
    CARD: MIB // 16,
    NETWORK: None,
    "tokens.txt": 16 * MIB,
    "pieces.model": 64 * MIB,
    "decode.toml": MIB,
    "align.toml": MIB,
    "filter.toml": MIB,
    LICENSE: MIB,
    CLIP: 4 * MIB,
    EXPECTED: 256 * MIB,
    LM: None,
}
"""What a bundle may contain, and the largest size of each (bytes); None: that of the bundle."""

REQUIRED = (CARD, NETWORK, "tokens.txt", CLIP, EXPECTED)

HASHED_LM = 64 * MIB
"""Language models of up to this size (bytes) are hashed when they are opened; of larger ones, that takes too long."""


@dataclass(frozen=True)
class ExperimentFiles:
    """Reads files of an experiment by name. path: its folder, or a bundle.

    card, members: of a bundle; empty for a folder.
    """

    path: str
    card: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)

    @property
    def is_bundle(self) -> bool:
        """Whether the files are those in a bundle, which no command changes."""
        return bool(self.members)

    def where(self, name: str) -> str:
        """A file as messages name it."""
        return f"{self.path}: {name}" if self.is_bundle else str(Path(self.path) / name)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.members if self.is_bundle else (Path(self.path) / name).is_file()

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None if there is none. DataError if it cannot be read, or is not as the card says."""
        if not self.has(name):
            return None
        try:
            if not self.is_bundle:
                return (Path(self.path) / name).read_bytes()
            with Path(self.path).open("rb") as f:
                f.seek(self.members[name].offset)
                data = f.read(self.members[name].size)
        except OSError as e:
            raise DataError(f"{self.where(name)}: {inputs.explain_error(e)}") from e
        if name != CARD:
            self.check_hash(name, data)
        return data

    def read_toml(self, name: str) -> dict[str, Any]:
        """The values of a TOML file, {} if there is none. UsageError if it is not TOML, DataError as of `read`."""
        if not self.is_bundle:
            return read_toml(self.where(name)) if self.has(name) else {}
        data = self.read(name)
        return {} if data is None else parse_toml(data, self.where(name))

    def sha256(self, name: str) -> str | None:
        """The hash of a file, of a bundle that in its card; None if there is none."""
        if not self.has(name):
            return None
        if self.is_bundle:
            return str(self.card["members"][name]["sha256"])
        with (Path(self.path) / name).open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()

    def check_hash(self, name: str, data: bytes | memoryview) -> None:
        """DataError if the content of a member of a bundle is not that which its card describes."""
        if hashlib.sha256(data).hexdigest() != self.card["members"][name]["sha256"]:
            raise DataError(f"{self.where(name)}: damaged: its hash is not the one in {CARD} (copy the file again)")

    def map(self, name: str, hashed: int = 0) -> memoryview | None:
        """The bytes of a member of a bundle, mapped where they lie; None if there is none.

        hashed: sizes up to this are compared with their hash.  DataError as of `read`.
        """
        if name not in self.members:
            return None
        member = self.members[name]
        try:
            with Path(self.path).open("rb") as f:
                mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as e:
            raise DataError(f"{self.path}: cannot be mapped ({e})") from e
        if len(mapped) < member.offset + member.size:
            raise DataError(f"{self.where(name)}: the file has become shorter (copy it again)")
        if hasattr(mmap, "MADV_WILLNEED") and member.size:
            # it is used at random places: have it read sequentially in the background first
            start = member.offset - member.offset % mmap.ALLOCATIONGRANULARITY
            mapped.madvise(mmap.MADV_WILLNEED, start, member.offset + member.size - start)
        data = memoryview(mapped)[member.offset : member.offset + member.size]
        if member.size <= hashed:
            self.check_hash(name, data)
        return data


def is_bundle(path: str | Path) -> bool:
    """Whether a path leads to a bundle: a file that begins like one, or is named like one and no folder."""
    file = Path(path)
    try:
        if not file.is_file():
            # what is named like one, and is a pipe or missing, is reported as a bundle
            return file.suffix == SUFFIX and not file.is_dir()
        with file.open("rb") as f:
            head = f.read(30 + len(CARD))
    except (OSError, ValueError):
        return file.suffix == SUFFIX
    return file.suffix == SUFFIX or (head.startswith(MAGIC) and head.endswith(CARD.encode()))


def open_files(exp: str | Path) -> ExperimentFiles:
    """The files of an experiment folder, or of a bundle.

    DataError for a bundle that is damaged, has what no bundle has, or is in the format of another version.
    """
    path = str(exp)
    if not is_bundle(path):
        return ExperimentFiles(path)
    try:
        # not opened before: a pipe without a writer would wait
        if kind := inputs.describe_special(path):
            raise DataError(f"this is {kind}, expected a file")
        with Path(path).open("rb") as f:
            members = read_members(f)
            names = [member.name for member in members]
            _check_members(members)
            f.seek(members[0].offset)
            data = f.read(members[0].size)
        if zlib.crc32(data) != members[0].crc:
            raise DataError(f"{CARD} is damaged (copy the file again)")
        card = parse_toml(data, f"{path}: {CARD}")
        _check_card(card, members)
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file (ds2 export EXP {path} writes it)") from e
    except UsageError as e:
        raise DataError(str(e)) from e
    except DataError as e:
        raise DataError(f"{path}: not a bundle of ds2 export: {e}") from e
    except (OSError, ValueError) as e:
        message = inputs.explain_error(e) if isinstance(e, OSError) else str(e)
        raise DataError(f"{path}: {message}") from e
    return ExperimentFiles(path, card, dict(zip(names, members, strict=True)))


def refuse_bundle(exp: str, what: str) -> None:
    """UsageError if an experiment to be changed is a bundle. what: the option, and the file that it writes."""
    if is_bundle(exp):
        if not Path(exp).exists():
            raise UsageError(f"{what}, but names of bundles end in {SUFFIX}, as {exp} does (name a folder)")
        raise UsageError(
            f"{what}, but {exp} is a bundle, which is not changed (use the experiment folder, then ds2 export)"
        )


def _check_members(members: list[Member]) -> None:
    names = [member.name for member in members]
    for name in names:
        if name not in LIMITS:
            raise DataError(f"it contains {name[:60]!r}, expected only {', '.join(LIMITS)}")
        if names.count(name) > 1:
            raise DataError(f"it contains {name} more than once")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(f"it contains no {missing[0]}")
    if names[0] != CARD:
        raise DataError(f"it begins with {names[0]}, expected {CARD}")
    for member in members:
        limit = LIMITS[member.name]
        if limit is not None and member.size > limit:
            raise DataError(f"{member.name} has {member.size} bytes, expected at most {limit}")
        if member.offset % PAGE:
            raise DataError(f"{member.name} does not begin at a multiple of {PAGE} bytes")


def _check_card(card: Mapping[str, Any], members: list[Member]) -> None:
    """DataError unless the card is of this format, and the members are those that it lists."""
    version = card.get("format")
    if version != FORMAT or isinstance(version, bool):
        found = repr(version)[:20]
        raise DataError(f"expected format {FORMAT}, found {found} (another version of ds2cli wrote it)")
    listed = card.get("members")
    expected = {member.name: member for member in members[1:]}
    if not isinstance(listed, dict) or listed.keys() != expected.keys():
        raise DataError(f"its members are not those that {CARD} lists")
    for name, about in listed.items():
        size = about.get("size") if isinstance(about, dict) else None
        if size != expected[name].size or not isinstance(about.get("sha256"), str):
            raise DataError(f"{name} has {expected[name].size} bytes, {CARD} says {str(size)[:20]}")
