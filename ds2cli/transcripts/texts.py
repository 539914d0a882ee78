"""What the readers of text formats share: lines become rows, sorted by id; what cannot be read is counted.

NIST's markup of references is not interpreted: the braces, slashes and words of alternatives (`{ um / uh / @ }`),
optional words in parentheses (`(uh)`) and fragments (`re-`) count as plain words. Only sclite scores them by NIST's
rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from ds2cli import inputs, io, manifest
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row

COMMENT = ";;"

Parse = Callable[[str], tuple[str, str]]

_MARKUP = re.compile(r"(?<!\S)(?:@|\{\S*|\S*\}|\(\S+\)|\S+-|-\S+)(?!\S)")


def read_lines(path: str, *comments: str) -> Iterator[tuple[str, str]]:
    """The lines of a file after their locations `path:line`, without empty ones and those that begin as a comment."""
    name = "<stdin>" if path == "-" else path
    for number, line in io.read_lines(path):
        if line.strip() and not line.startswith(comments):
            yield f"{name}:{number}", line


def report_bad(location: str, error: BadUtterance, ledger: Ledger | None, id_: str | None = None) -> None:
    """Record a line that cannot be read; DataError with its location if there is no ledger."""
    detail = f"{location}: {error.detail}"
    if ledger is None:
        raise DataError(detail) from error
    ledger.drop(id_ or location, error.reason, detail)


def require_utf8(line: str) -> None:
    """BadUtterance "not-utf8" if the line was read from bytes that are not UTF-8."""
    if error := explain_undecodable(line):
        raise BadUtterance("not-utf8", error)


def read_texts(path: str, comments: tuple[str, ...], field: str, parse: Parse, ledger: Ledger | None) -> Iterator[Row]:
    """Yield a row with `id` and the text in `field` for each line of a file, sorted by id.

    parse: returns the id and the text of a line, BadUtterance if there is none.  ledger: records bad lines, and those
    whose id was used before; without it they are a DataError with `path:line`.
    A file in order, as Kaldi's are, is read twice and never held in memory; others, and pipes, are.
    """
    is_sorted, last = _is_sorted(path, comments, parse), ""
    texts: dict[str, str] = {}
    for location, line in read_lines(path, *comments):
        id_ = None
        try:
            require_utf8(line)
            id_, text = parse(line)
            if not manifest.is_id(id_):
                wrong, id_ = id_, None
                raise BadUtterance("no-id", f"id {wrong!r}: expected a name without spaces and control characters")
            if id_ == last or id_ in texts:
                raise BadUtterance("duplicate-id", f"id {id_!r} appears more than once")
        except BadUtterance as e:
            report_bad(location, e, ledger, id_)
            continue
        if not is_sorted:
            texts[id_] = text
            continue
        if id_ < last:
            raise DataError(f"{location}: id {id_!r} comes after {last!r}: the file has changed while it was read")
        last = id_
        yield {"id": id_, field: text}
    for id_ in sorted(texts):
        yield {"id": id_, field: texts.pop(id_)}


def _is_sorted(path: str, comments: tuple[str, ...], parse: Parse) -> bool:
    """Whether the ids of a file are in order; False for what can be read only once."""
    if path == "-" or inputs.is_stream(path):
        return False
    last = ""
    for _, line in read_lines(path, *comments):
        with suppress(BadUtterance):
            id_, _ = parse(line)
            if id_ < last:
                return False
            last = id_
    return True


def has_markup(text: str) -> bool:
    """Whether a text has alternatives, optional words, fragments or null words as NIST's references do."""
    return _MARKUP.search(text) is not None


def note_markup(rows: Iterable[Row], path: str, ledger: Ledger) -> Iterator[Row]:
    """Pass rows through; after the last one, note in the ledger how many references have markup."""
    found = 0
    for row in rows:
        found += has_markup(row["text"])
        yield row
    if found:
        ledger.notes.append(
            f"{path}: texts with alternatives {{ a / b }}, optional words (uh) or fragments (re-), which count as "
            f"plain words: {found} (--sclite FOLDER scores them by NIST's rules)"
        )
