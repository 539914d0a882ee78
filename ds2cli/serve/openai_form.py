"""Read a form (multipart/form-data) as it arrives: what is kept is the fields and the recording."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.types import Receive

from ds2cli.audio.formats import AUDIO_SUFFIXES
from ds2cli.serve.refusal import Refusal, bad_request
from ds2cli.serve.uploads import FIELDS_BYTES, Upload, Uploads

FILE = "file"

MAX_PARTS = 64
MAX_HEADERS = 4096
"""Bytes of the headers of a part."""

Fields = dict[str, list[str]]


def gone() -> Refusal:
    """The client has left; this is not sent."""
    return Refusal("gone", "the client has left", 499)


class FormReader:
    """Reads one form. is_read: whether its last byte has arrived."""

    def __init__(self, headers: Headers, receive: Receive, uploads: Uploads, upload: Upload) -> None:
        self._headers, self._receive, self._uploads, self._upload = headers, receive, uploads, upload
        self.is_read = False
        self._fields: Fields = {}
        self._parts = self._field_bytes = 0
        self._has_file = self._is_file = False
        self._name = self._header = b""
        self._value = bytearray()
        self._disposition = b""
        self._header_bytes = 0

    async def read(self) -> Fields:
        """The fields but for the file, which is in the upload then.

        Refusal for a body that is too large, too slow, or no such form.
        """
        self._uploads.check_size(_stated_size(self._headers))
        parser = self._make_parser()
        size, ended = 0, False
        while not self.is_read:
            data = await self._next()
            size += len(data)
            self._uploads.check_size(size)
            try:
                parser.write(data)
                ended = ended or parser.state.name == "END"
            except FormParserError as e:
                raise _bad_form(f"the form cannot be read: {e}") from e
        if not ended:
            raise _bad_form("the form has no end: its last boundary is missing")
        if not self._has_file:
            raise Refusal("missing-file", "file: the recording is missing", 400, param=FILE)
        return self._fields

    async def _next(self) -> bytes:
        uploads, upload = self._uploads, self._upload
        idle_s = uploads.config.idle
        try:
            async with asyncio.timeout(max(min(idle_s, upload.seconds_left), 0.0)):
                message = await self._receive()
        except TimeoutError:
            if upload.seconds_left <= 0:
                raise upload.late() from None
            raise Refusal("idle", f"nothing was received for {idle_s:g} s", 408, 1001) from None
        if message["type"] == "http.disconnect":
            raise gone()
        self.is_read = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    def _make_parser(self) -> MultipartParser:
        kind, options = parse_options_header(self._headers.get("content-type"))
        if kind != b"multipart/form-data":
            raise Refusal(
                "bad-form", f"the body must be multipart/form-data, not {kind.decode('latin-1')[:60] or 'empty'}", 415
            )
        if not options.get(b"boundary"):
            raise _bad_form("the header Content-Type has no boundary")
        try:
            return MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                },
            )
        except FormParserError as e:
            raise _bad_form(f"the form cannot be read: {e}") from e

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _bad_form(f"the form has more than {MAX_PARTS} fields")
        self._name, self._disposition, self._header_bytes = b"", b"", 0
        self._value.clear()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        if self._header.lower() == b"content-disposition":
            self._disposition += data[start:end]

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADERS:
            raise _bad_form(f"the headers of a field have more than {MAX_HEADERS} bytes")

    def _end_header(self) -> None:
        self._header = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"")
        if not self._name:
            raise _bad_form("a field of the form has no name")
        self._is_file = self._name == FILE.encode()
        if b"filename" in options and not self._is_file:
            name = self._name.decode("utf-8", "replace")[:60]
            raise _bad_form(f"the form has a file called {name!r}, expected one called 'file'")
        if not self._is_file:
            return
        if self._has_file:
            raise _bad_form("the form has several files: send each in a request of its own")
        self._has_file = True
        self._upload.suffix = suffix_of(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._upload.write(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > FIELDS_BYTES:
            raise _bad_form(f"the fields of the form have more than {FIELDS_BYTES} bytes")
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self._is_file:
            return
        try:
            name, value = self._name.decode(), self._value.decode()
        except UnicodeDecodeError:
            raise _bad_form("a field of the form is not in UTF-8") from None
        self._fields.setdefault(name, []).append(value)


def suffix_of(name: str) -> str:
    """The ending of a file's name, such as ".mp3", if it is that of a known format, else "": nothing else is used."""
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    return suffix if suffix in AUDIO_SUFFIXES else ""


def _stated_size(headers: Headers) -> int:
    stated = headers.get("content-length", "")
    return int(stated) if stated.isdecimal() and len(stated) < 20 else 0


def _bad_form(message: str) -> Refusal:
    return bad_request("bad-form", message)
