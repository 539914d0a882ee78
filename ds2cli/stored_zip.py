"""Zip archives whose members are stored, not compressed, so that a member can be read or mapped where it lies.

The reader is strict: an archive is its members without gaps, then the directory, then the end record, and nothing else.
What is declared twice, in the directory and before each member, must agree. So nothing is hidden, nothing overlaps, and
no declared size exceeds the file: an archive costs no more than its own bytes. Source: PKWARE's APPNOTE 6.3.10,
sections 4.3 and 4.5.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ds2cli.errors import DataError

PAGE = 4096
"""Members begin at multiples of this, so that numbers in them are aligned where the file is mapped."""

MOST_MEMBERS = 64
MAGIC = b"PK\x03\x04"

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQHHLLQQQQ")
_SIZES_64 = struct.Struct("<HHQQ")
_CENTRAL_64 = struct.Struct("<HHQQQ")
_CENTRAL_MAGIC, _END_MAGIC, _LOCATOR_MAGIC, _END_64_MAGIC = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"

_LARGE = 0xFFFFFFFF
"""In place of numbers that are stored in 64 bits."""

_LIMIT = _LARGE
"""Sizes and places from here on are stored in 64 bits."""

_UTF8, _ENCRYPTED, _SIZES_FOLLOW = 0x800, 0x1, 0x8
_STORED, _VERSION, _VERSION_64, _UNIX = 0, 20, 45, 3
_DATE = (1 << 5) | 1
"""1980-01-01, the earliest that there is: the same members give the same bytes."""

_PADDING, _EXTRA_64 = 0xD935, 0x0001
"""Kinds of extra fields: padding as Android's zipalign writes it, and 64-bit sizes."""


Content = Sequence[memoryview]
"""The bytes of a member, in parts, so that large ones need not be joined in memory."""


class Member(NamedTuple):
    """A file in an archive. offset: of its first byte, in the archive."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class _Entry:
    """What the directory says of a member. header: the offset of what precedes the member."""

    name: bytes
    flags: int
    size: int
    crc: int
    header: int


def write_stored(out: BinaryIO, members: Iterable[tuple[str, Content]]) -> None:
    """Write an archive of these members in their order, each from the next page on. `out` need not be seekable."""
    directory, pos, count = [], 0, 0
    for name, content in members:
        encoded, size, crc = name.encode(), sum(part.nbytes for part in content), 0
        for part in content:
            crc = zlib.crc32(part, crc)
        is_large = size >= _LIMIT or pos >= _LIMIT
        sizes = _SIZES_64.pack(_EXTRA_64, 16, size, size) if is_large else b""
        extra = sizes + _padding(pos + _LOCAL.size + len(encoded) + len(sizes))
        version = _VERSION_64 if is_large else _VERSION
        short = _LARGE if is_large else size
        about = (version, _UTF8, _STORED, 0, _DATE, crc, short, short, len(encoded))
        out.write(_LOCAL.pack(MAGIC, *about, len(extra)) + encoded + extra)
        for part in content:
            out.write(part)
        sizes = _CENTRAL_64.pack(_EXTRA_64, 24, size, size, pos) if is_large else b""
        mode = (stat.S_IFREG | 0o644) << 16
        rest = (len(sizes), 0, 0, 0, mode, _LARGE if is_large else pos)
        directory.append(_CENTRAL.pack(_CENTRAL_MAGIC, _UNIX << 8 | version, *about, *rest) + encoded + sizes)
        pos += _LOCAL.size + len(encoded) + len(extra) + size
        count += 1
    central = b"".join(directory)
    out.write(central)
    where = (len(central), pos)
    if pos >= _LIMIT:
        about_64 = (_END_64.size - 12, _VERSION_64, _VERSION_64, 0, 0, count, count, *where)
        out.write(_END_64.pack(_END_64_MAGIC, *about_64))
        out.write(_LOCATOR.pack(_LOCATOR_MAGIC, 0, pos + len(central), 1))
        where = (len(central), _LARGE)
    out.write(_END.pack(_END_MAGIC, 0, 0, count, count, *where, 0))


def read_members(f: BinaryIO) -> list[Member]:
    """The members of an archive in their order; DataError, without the name of the file, if it is not one of these.

    Only the directory and what precedes each member are read, and no more than MOST_MEMBERS of them.
    """
    size = f.seek(0, 2)
    start, central, count = _find_directory(f, size)
    entries = sorted(_parse_directory(central, count), key=lambda entry: entry.header)
    members, pos = [], 0
    for entry in entries:
        member = _read_member(f, entry, pos)
        pos = member.offset + member.size
        if pos > start:
            raise _malformed(f"{member.name!r} is said to have {member.size} bytes, more than there are")
        members.append(member)
    if pos != start:
        raise _malformed(f"{start - pos} bytes between its members and its directory belong to none")
    return members


def _padding(pos: int) -> bytes:
    """An extra field that fills the page if it begins at `pos`."""
    missing = -(pos + 6) % PAGE
    return struct.pack("<HHH", _PADDING, 2 + missing, PAGE) + bytes(missing)


def _find_directory(f: BinaryIO, size: int) -> tuple[int, bytes, int]:
    """Where the directory begins, its bytes, and the number of members."""
    if size < _END.size:
        raise DataError("it is empty" if not size else f"not a zip archive: it has only {size} bytes")
    magic, *disks, here, count, length, start, comment = _END.unpack(_read_at(f, size - _END.size, _END.size))
    if magic != _END_MAGIC:
        if _read_at(f, 0, len(MAGIC)) == MAGIC:
            raise DataError("a zip archive without its end (is the file complete?)")
        raise DataError("not a zip archive")
    end = size - _END.size
    if start == _LARGE and end >= _LOCATOR.size + _END_64.size:
        magic, disk, end_64, total = _LOCATOR.unpack(_read_at(f, end - _LOCATOR.size, _LOCATOR.size))
        end -= _LOCATOR.size + _END_64.size
        if (magic, disk, end_64, total) != (_LOCATOR_MAGIC, 0, end, 1):
            raise _malformed("its 64-bit end record is not where it has to be")
        magic, rest, _, _, *disks, here, count, length, start = _END_64.unpack(_read_at(f, end, _END_64.size))
        if (magic, rest) != (_END_64_MAGIC, _END_64.size - 12):
            raise _malformed("its 64-bit end record is none")
    if disks != [0, 0] or here != count or comment:
        raise _malformed("it has several parts, or a comment")
    if not 0 < count <= MOST_MEMBERS:
        raise _malformed(f"it has {count} members, expected 1 to {MOST_MEMBERS}")
    if start + length != end:
        raise _malformed("its directory does not end where its end record begins (is the file complete?)")
    return start, _read_at(f, start, length), count


def _parse_directory(central: bytes, count: int) -> Iterator[_Entry]:
    pos = 0
    for _ in range(count):
        if pos + _CENTRAL.size > len(central):
            raise _malformed(f"its directory has fewer than {count} members")
        fields = _CENTRAL.unpack_from(central, pos)
        magic, made, _, flags, method, _, _, crc, packed, size, names, extras, comment, disk, _, mode, header = fields
        pos += _CENTRAL.size
        name, extra = central[pos : pos + names], central[pos + names : pos + names + extras]
        pos += names + extras + comment
        if magic != _CENTRAL_MAGIC or pos > len(central) or comment or disk:
            raise _malformed("its directory is damaged")
        shown = repr(name.decode("utf-8", "replace"))[:60]
        if _LARGE in (size, packed, header):
            if len(extra) != _CENTRAL_64.size or extra[:4] != struct.pack("<HH", _EXTRA_64, 24):
                raise _malformed(f"{shown} has no 64-bit sizes")
            _, _, size, packed, header = _CENTRAL_64.unpack(extra)
        _check_kind(shown, flags, method, size, packed, mode >> 16 if made >> 8 == _UNIX else 0)
        yield _Entry(name, flags, size, crc, header)
    if pos != len(central):
        raise _malformed("its directory is longer than its members")


def _check_kind(shown: str, flags: int, method: int, size: int, packed: int, mode: int) -> None:
    """DataError unless a member is a plain file, and stored."""
    if flags & _ENCRYPTED:
        raise _malformed(f"{shown} is encrypted")
    if method != _STORED or size != packed:
        raise _malformed(f"{shown} is compressed, expected stored members")
    if flags & ~_UTF8:
        raise _malformed(f"{shown} has its size after its content, expected it before")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _malformed(f"{shown} is {'a link' if stat.S_ISLNK(mode) else 'no plain file'}")


def _read_member(f: BinaryIO, entry: _Entry, pos: int) -> Member:
    """The member whose header has to be at `pos`; DataError if the header is not the one in the directory."""
    shown = repr(entry.name.decode("utf-8", "replace"))[:60]
    if entry.header != pos:
        raise _malformed(f"{shown} overlaps another member, or is not where the one before it ends")
    raw = _read_at(f, pos, _LOCAL.size)
    magic, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack(raw)
    rest = _read_at(f, pos + _LOCAL.size, names + extras)
    extra = rest[names:]
    if _LARGE in (size, packed) and extra[:4] == struct.pack("<HH", _EXTRA_64, 16) and len(extra) >= _SIZES_64.size:
        _, _, size, packed = _SIZES_64.unpack_from(extra)
        extra = extra[_SIZES_64.size :]
    found = (magic, flags, method, crc, packed, size, rest[:names])
    if found != (MAGIC, entry.flags, _STORED, entry.crc, entry.size, entry.size, entry.name):
        raise _malformed(f"{shown} has a header that differs from the directory")
    if extra and extra != _padding(pos + _LOCAL.size + len(rest) - len(extra)):
        raise _malformed(f"{shown} has an extra field that is no padding")
    try:
        name = entry.name.decode("utf-8" if entry.flags & _UTF8 else "ascii")
    except UnicodeDecodeError as e:
        raise _malformed(f"the name {shown} is not UTF-8") from e
    return Member(name, pos + _LOCAL.size + names + extras, entry.size, entry.crc)


def _read_at(f: BinaryIO, pos: int, size: int) -> bytes:
    f.seek(pos)
    data = f.read(size)
    if len(data) != size:
        raise _malformed("it ends too early (is the file complete?)")
    return data


def _malformed(problem: str) -> DataError:
    return DataError(f"a zip archive of another kind: {problem}")
