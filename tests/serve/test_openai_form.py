"""Forms that arrive in pieces of any size, or damaged."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from starlette.datastructures import Headers

from ds2cli.config.serve import ServeConfig
from ds2cli.serve.openai_form import FormReader, suffix_of
from ds2cli.serve.refusal import Refusal
from ds2cli.serve.uploads import Uploads
from tests.serve.test_uploads import BOUNDARY, form, part


class FakeUpload:
    """Keeps the recording."""

    suffix, seconds_left = "", 60.0

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


class FakeUploads:
    """Has the limits of a server."""

    config = ServeConfig(max_upload_mb=0.01)
    max_bytes = 10_000
    check_size = Uploads.check_size


def read_form(pieces, kind=f"multipart/form-data; boundary={BOUNDARY}"):
    """The fields, the recording, the ending of its name."""
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False
    upload = FakeUpload()

    async def receive():
        return waiting.pop(0)

    reader = FormReader(Headers({"content-type": kind}), receive, FakeUploads(), upload)
    return asyncio.run(reader.read()), upload.data, upload.suffix


DATA = b"\r\n--x\r\n--x7\r--\n\r\n" + bytes(range(256)) + b"\r\n--x"
BODY = form(DATA, "a/b.MP3", language="en", prompt="ä,\nb")
FOUND = ({"model": ["whisper-1"], "language": ["en"], "prompt": ["ä,\nb"]}, DATA, ".mp3")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_pieces_of_any_size(size):
    assert read_form([BODY[i : i + size] for i in range(0, len(BODY), size)]) == FOUND


def test_every_division_in_two():
    for i in range(len(BODY)):
        assert read_form([BODY[:i], BODY[i:]]) == FOUND


def test_a_form_that_is_cut_anywhere_is_refused():
    # the line end after the last boundary may be missing
    for i in range(len(BODY) - 3):
        with pytest.raises(Refusal) as e:
            read_form([BODY[:i]])
        assert e.value.status == 400


def test_damaged_forms_are_read_or_refused():
    rng = np.random.default_rng(0)
    refused, start = 0, time.monotonic()
    for _ in range(2000):
        body = bytearray(BODY)
        for _ in range(rng.integers(1, 4)):
            place, kind = rng.integers(len(body)), rng.integers(3)
            if kind == 0:
                body[place] = rng.integers(256)
            elif kind == 1:
                del body[place : place + rng.integers(1, 40)]
            else:
                body[place:place] = BODY[: rng.integers(1, 200)]
        try:
            read_form([bytes(body[:place]), bytes(body[place:])])
        except Refusal as e:
            refused += 1
            assert e.status in (400, 413) and e.message.isprintable(), e.message
    assert 100 < refused < 2000 and time.monotonic() - start < 20


def test_the_limit_counts_what_is_between_parts():
    for body in (b"\r\n" * 400_000, form(bytes(300_000))):
        with pytest.raises(Refusal, match=r"more than 0.01 MB") as e:
            read_form([body[i : i + 5000] for i in range(0, len(body), 5000)])
        assert e.value.status == 413
    with pytest.raises(Refusal, match="fields of the form have more than"):
        read_form([part("prompt", b"x" * 262_145)])


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.mp3", ".mp3"), ("A.WAV", ".wav"), ("x/y.z/a.flac", ".flac"), ("c:\\d\\a.ogg", ".ogg"), ("a.mp3/", ".mp3"),
        ("../../etc/passwd", ""), ("a.txt", ""), ("", ""), (".wav", ""), ("a.wav\0.sh", ""), ("a.m3u8", ""),
        ("a.mp3 -i /etc/passwd", ""), ("/", ""), ("a." + "b" * 9999, ""),
    ],
)  # fmt: skip
def test_only_known_endings_are_used(name, suffix):
    assert suffix_of(name) == suffix
