"""Transfers a file over HTTP, in as many connections as it takes: each requests what the one before did not deliver."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ds2cli import inputs
from ds2cli.memory import format_size

if TYPE_CHECKING:
    from ds2cli.corpora._download import Report

TIMEOUT_S = 60.0
"""Without any byte for this long (s), a connection counts as lost."""

WAITS_S = (1.0, 3.0, 10.0, 30.0)
"""Pauses before connecting again (s); after the last one in a row without a byte, the transfer has failed."""

_BLOCK = 1 << 18
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class TransferError(Exception):
    """A file cannot be transferred from this address."""


class _Interrupted(Exception):
    """A connection ended too early, or could not be opened; another one may do better."""


@dataclass
class Part:
    """A file that is being downloaded. known: url, size and etag of what its bytes are of; {} if it is new."""

    file: Path
    info: Path
    known: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Part:
        """The part of `path` that an earlier run has left, or a new one."""
        part = cls(path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json"), {})
        with suppress(OSError, ValueError):
            known = json.loads(part.info.read_text("utf-8"))
            part.known = known if isinstance(known, dict) else {}
        if not part.known:
            part.reset()
        return part

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.file.stat().st_size if self.file.exists() else 0

    def note(self, known: dict[str, Any]) -> None:
        """Record what the bytes are of."""
        if known != self.known:
            self.known = known
            self.info.write_text(json.dumps(known) + "\n", "utf-8")

    def reset(self) -> None:
        """Forget the bytes."""
        self.file.unlink(missing_ok=True)
        self.known = {}

    def remove(self) -> None:
        """Remove the files."""
        self.file.unlink(missing_ok=True)
        self.info.unlink(missing_ok=True)


def continue_transfer(part: Part, url: str, report: Report, require_space: Callable[[int | None, int], None]) -> None:
    """Transfer what is missing of a file. TransferError if that is not possible.

    require_space: called with the size of the file, if known, and the bytes that are there, before any are written.
    """
    name = part.file.name.removesuffix(".part")
    failures, most = 0, part.size
    while True:
        try:
            _transfer(part, url, name, report, require_space)
        except _Interrupted as e:
            # a file that changes on the server, or is always read from the start, makes no progress either
            failures = 1 if part.size > most else failures + 1
            most = max(most, part.size)
            if failures > len(WAITS_S):
                raise TransferError(f"{e}, {failures} times in a row") from e
            wait = WAITS_S[failures - 1]
            report.log(f"{name}: {e} at {format_size(part.size)}: connecting again in {wait:g} s")
            time.sleep(wait)
        else:
            return


def _transfer(
    part: Part, url: str, name: str, report: Report, require_space: Callable[[int | None, int], None]
) -> None:
    """One connection. _Interrupted if it does not deliver all, TransferError if the server refuses."""
    start = part.size
    response = _request(part, url, start)
    if response is None:
        return
    with response:
        begin, total = _content_range(response, start)
        known = {"url": url, "size": total, "etag": response.headers.get("ETag")}
        if begin != start or (start and not _is_same(part.known, known)):
            if begin:
                part.reset()
                raise _Interrupted("the server has another file than before")
            report.log(f"{name}: the server sends the whole file, so the {format_size(start)} there are not used")
        part.note(known)
        require_space(total, begin)
        with part.file.open("ab" if begin else "wb") as f:
            done = _copy(response, f, begin, total, lambda done: report.update(name, done, total))
    if total is not None and done < total:
        raise _Interrupted("the connection was lost")


def _copy(response: Any, f: BinaryIO, done: int, total: int | None, show: Callable[[int], None]) -> int:
    """Write what a server sends; return the bytes of the file that are there then."""
    while total is None or done < total:
        try:
            block = response.read1(_BLOCK)
        except (http.client.HTTPException, OSError) as e:
            raise _Interrupted(_explain(e)) from e
        if not block:
            break
        f.write(block)
        done += len(block)
        show(done)
    return done


def _request(part: Part, url: str, start: int) -> Any:
    """The response to a request for the file from byte `start` on; None if there is nothing more."""
    headers = {"User-Agent": "ds2cli", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        etag = part.known.get("etag")
        if part.known.get("url") == url and isinstance(etag, str) and not etag.startswith("W/"):
            headers["If-Range"] = etag
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as e:
        with e:
            if e.code == 416 and start:
                if (e.headers.get("Content-Range") or "").rpartition("/")[2] == str(start):
                    return None
                part.reset()
                raise _Interrupted("the server has a shorter file than before") from e
            if e.code in (408, 429) or e.code >= 500:
                raise _Interrupted(f"the server answered {e.code} {e.reason}") from e
            raise TransferError(f"the server answered {e.code} {e.reason}") from e
    except urllib.error.URLError as e:
        raise _Interrupted(_explain(e.reason)) from e
    except (http.client.HTTPException, OSError) as e:
        raise _Interrupted(_explain(e)) from e
    # an address that is none
    except ValueError as e:
        raise TransferError(str(e)) from e


def _content_range(response: Any, start: int) -> tuple[int, int | None]:
    """The first byte that a response has, and the size of the file, if it states one."""
    if response.status == 206:
        found = _RANGE.match(response.headers.get("Content-Range") or "")
        if found and found[1]:
            return int(found[1]), None if found[2] == "*" else int(found[2])
        return start, None
    length = response.headers.get("Content-Length") or ""
    return 0, int(length) if length.isdecimal() else None


def _is_same(known: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether two files can be the same one. A mirror has another ETag for it, but not another size."""
    if None not in (known.get("size"), found["size"]) and known.get("size") != found["size"]:
        return False
    return (
        known.get("url") != found["url"] or None in (known.get("etag"), found["etag"]) or known["etag"] == found["etag"]
    )


def _explain(error: object) -> str:
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return f"no answer for {TIMEOUT_S:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was lost"
    return inputs.explain_error(error) if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
