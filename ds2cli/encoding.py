"""The encodings of text files, for all readers: UTF-8 and what Windows writes instead (a byte order mark, UTF-16).

Any other encoding is not guessed silently: its bytes are an error that names the likely one and the command that
converts it.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex

MARK = "\ufeff"
"""The byte order mark, decoded."""

# those of UTF-32 first: the little-endian one begins like that of UTF-16
_CODEC_OF_MARK = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BINARY_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (save it as CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (save it as CSV UTF-8)",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF file",
    b"SQLite format 3": "an SQLite database",
    b"RIFF": "a WAV recording",
    b"fLaC": "a FLAC recording",
    b"OggS": "an Ogg recording",
    b"ID3": "an MP3 recording",
    b"mmap ": "a KenLM binary",
    b"BZh": "a bzip2 file (bunzip2)",
    b"\xfd7zXZ": "an xz file (unxz)",
    b"\x28\xb5\x2f\xfd": "a Zstandard file (unzstd)",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_A_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_HEAD = 1024
_ZERO_BYTES_OF_TEXT = 0.05


def detect(head: bytes) -> str:
    """The codec of a text file that starts with `head`: that of its byte order mark, else UTF-16 or UTF-8.

    >>> detect("path".encode("utf-16-le"))
    'utf-16-le'
    """
    for mark, codec in _CODEC_OF_MARK.items():
        if head.startswith(mark):
            return codec
    # two ASCII characters in UTF-16, as `iconv -t utf-16le` writes them
    zeros = [byte == 0 for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8"


def error_handler(codec: str) -> str:
    """How undecodable bytes are read: in UTF-8 as lone surrogates, as in Python's file names; else as U+FFFD."""
    return "surrogateescape" if codec.startswith("utf-8") else "replace"


def has_cr_line_ends(text: str) -> bool:
    """Whether the lines of a text end in CR alone, as on the Mac of old; `text`: with its first line end."""
    return "\r" in text and "\n" not in text


def decode(data: bytes, path: str = "") -> str:
    """The text of a small file, without a byte order mark, lines ending in LF; UnicodeError says what is wrong.

    path: named in the command of the message.
    """
    codec = detect(data)
    text = data.decode(codec, error_handler(codec))
    if error := explain_undecodable(text, path):
        raise UnicodeError(error)
    text = text.replace("\r\n", "\n")
    return text.replace("\r", "\n") if has_cr_line_ends(text) else text


def to_utf8(data: bytes) -> bytes:
    """A large file in UTF-8, without a byte order mark; undecodable bytes are kept, lines end in LF or CRLF."""
    codec = detect(data[:4])
    if codec != "utf-8":
        data = data.decode(codec, error_handler(codec)).encode("utf-8", "surrogateescape")
    head = data[:_HEAD]
    return data.replace(b"\r", b"\n") if b"\r" in head and b"\n" not in head else data


def explain_undecodable(text: str, path: str = "") -> str:
    """What is wrong with a text that was read with `error_handler` or unescaped from JSON, and the fix; "" if nothing.

    path: named in the command, if given.

    >>> explain_undecodable("caf\\udce9")
    "not UTF-8, perhaps Windows-1252 for 'café' (iconv -f windows-1252 -t utf-8)"
    """
    if text.isascii() or not _SURROGATE.search(text):
        return ""
    if _NOT_A_BYTE.search(text):
        return "half a surrogate pair (\\ud800 to \\udfff), expected Unicode text"
    if any(ord(c) > 127 and not "\udc80" <= c <= "\udcff" for c in text):
        return "not UTF-8, though some of its letters are: it was damaged, or joined from files in different encodings"
    data = text.encode("utf-8", "surrogateescape")
    try:
        guess = data.decode("windows-1252")
    except UnicodeDecodeError:
        return f"not UTF-8 ({convert_command('ENCODING', path)}, with the encoding that it was written in)"
    word = re.findall(r"\w*[^\x00-\x7f]\w*", guess)[0]
    return f"not UTF-8, perhaps Windows-1252 for {word[:40]!r} ({convert_command('windows-1252', path)})"


def explain_name(name: str) -> str:
    """What is wrong with an argument or a file name that is not UTF-8, and the command that renames such a file."""
    error = explain_undecodable(name).partition(" (")[0]
    if _NOT_A_BYTE.search(name):
        return f"{name!r}: a file name that holds {error}"
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    path = _first_undecodable_part(name)
    if not os.path.lexists(path):
        return f"{shown}: expected an argument in UTF-8: {error}"
    # as bash reads it, whatever the terminal shows
    old = "".join(f"\\x{ord(c) - 0xDC00:x}" if is_undecoded(c) else f"\\{c}" if c in "\\'" else c for c in path)
    new = "".join(_guess_letter(c) if is_undecoded(c) else c for c in path)
    return f"{shown}: a file name that is {error} (mv $'{old}' {shlex.quote(new)})"


def is_undecoded(c: str) -> bool:
    """Whether Python has read a byte that is not UTF-8 as this surrogate."""
    return "\udc80" <= c <= "\udcff"


def _first_undecodable_part(path: str) -> str:
    """The path up to its first folder or file whose name is not UTF-8."""
    parts = path.split("/")
    wrong = next(i for i, part in enumerate(parts) if any(map(is_undecoded, part)))
    return "/".join(parts[: wrong + 1])


def _guess_letter(c: str) -> str:
    """The letter of Windows-1252 for such a byte, `_` if it has none."""
    return bytes([ord(c) - 0xDC00]).decode("windows-1252", "replace").replace("\ufffd", "_")


def code_point(c: str) -> str:
    """How Unicode names a character that a message cannot show.

    >>> code_point("\\u200b")
    'U+200B'
    """
    return f"U+{ord(c):04X}"


def convert_command(encoding: str, path: str = "") -> str:
    """The command that converts a file to UTF-8, under a new name.

    >>> convert_command("windows-1252", "my table.csv")
    "iconv -f windows-1252 -t utf-8 'my table.csv' > 'my table.utf8.csv'"
    """
    if path in ("", "-") or path.endswith(".gz"):
        return f"iconv -f {encoding} -t utf-8"
    stem, dot, ending = path.rpartition(".")
    new = f"{stem}.utf8.{ending}" if dot and "/" not in ending and stem.rpartition("/")[2] else f"{path}.utf8"
    return f"iconv -f {encoding} -t utf-8 {shlex.quote(path)} > {shlex.quote(new)}"


def describe_binary(head: bytes) -> str:
    """What a file is that starts with `head` and is no text; "" for text."""
    for magic, kind in _BINARY_FORMATS.items():
        if head.startswith(magic):
            return kind
    zeros = head[:_HEAD].count(0)
    if not zeros or not detect(head).startswith("utf-8"):
        return ""
    # a few damaged bytes cost their line, not the file
    return "a binary file" if zeros > _ZERO_BYTES_OF_TEXT * len(head[:_HEAD]) else ""
