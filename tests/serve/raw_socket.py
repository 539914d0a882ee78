"""A WebSocket client that sends any bytes, and a stream beside it whose texts must not change."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import threading
from dataclasses import dataclass

from websockets.sync.client import connect

from tests.serve.conftest import speech

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TIMEOUT_S = 30.0


def frame(opcode, payload=b"", *, fin=True, mask=b"\1\2\3\4", rsv=0, length_bytes=None, length=None):
    """A frame of a client. mask: None for none.  length_bytes: 1, 2 or 8 for another form of the length."""
    size = len(payload) if length is None else length
    form = length_bytes or (1 if size < 126 else 2 if size < 65536 else 8)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    masked = 0 if mask is None else 128
    head += {1: lambda: bytes([masked | size]), 2: lambda: struct.pack("!BH", masked | 126, size)}.get(
        form, lambda: struct.pack("!BQ", masked | 127, size)
    )()
    if mask is None:
        return head + payload
    whole = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
    return head + mask + number.to_bytes(len(payload), "big")


def close_payload(code, reason=b""):
    """The payload of a close frame."""
    return struct.pack("!H", code) + reason


@dataclass
class Received:
    """opcode and payload of a frame of the server."""

    opcode: int
    payload: bytes

    @property
    def code(self):
        """Of a close frame."""
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005

    @property
    def json(self):
        return json.loads(self.payload)


class RawSocket:
    """A TCP connection to a server, as a context."""

    def __init__(self, port, timeout=TIMEOUT_S):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Send bytes; the server may have closed already."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def read(self, size):
        """The next `size` bytes, fewer at the end."""
        while len(self.buffer) < size:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            self.buffer += data
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def read_all(self):
        """Everything up to the end."""
        return self.read(1 << 40)

    def read_head(self):
        """The head of an HTTP response, with the empty line."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                break
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head.decode()

    def open(self, path, headers=(), rest=b""):
        """Ask for a WebSocket; the head of the response. rest: is sent in the same packet."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers,
        ]  # fmt: skip
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + rest)
        return self.read_head()

    def read_frame(self):
        """The next frame, None at the end."""
        head = self.read(2)
        if len(head) < 2:
            return None
        assert head[0] & 0xF0 == 0x80 and not head[1] & 128, head
        size = head[1]
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8), "big")
        return Received(head[0] & 15, self.read(size))

    def read_frames(self):
        """All frames to the end; it must end in order, not by a reset."""
        frames = []
        while (found := self.read_frame()) is not None:
            frames.append(found)
            if found.opcode == CLOSE:
                self.send(frame(CLOSE, found.payload[:2]))
                # the answer may be within a frame that was begun
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_WR)
        return frames


class ServerIsFullError(Exception):
    """A stream was refused because of others."""


def recognize(ws, samples, start=None, size=1600):
    """The final texts and words of a stream on `/stream`. ws: the address of the server."""
    finals = []
    with connect(f"{ws}/stream", proxy=None, open_timeout=TIMEOUT_S) as connection:
        connection.send(json.dumps({"type": "start", "partials": False, **(start or {})}))
        for begin in range(0, len(samples), size):
            connection.send(samples[begin : begin + size].tobytes())
        connection.send('{"type": "finish"}')
        for message in map(json.loads, connection):
            if message["type"] == "final":
                finals.append((message["text"], message.get("words")))
            if message["type"] == "error" and message["code"] == "overloaded":
                raise ServerIsFullError
            assert message["type"] != "error", message
        assert connection.close_code == 1000, connection.close_code
    return finals


@contextlib.contextmanager
def unchanged_streams(ws, samples=None):
    """While it is open, a stream is recognized again and again: its results must always be the same."""
    samples = speech(6, seed=3) if samples is None else samples
    expected = recognize(ws, samples)
    assert any(text for text, _ in expected)
    stop, faults, count = threading.Event(), [], [0]

    def repeat():
        while not stop.is_set():
            try:
                found = recognize(ws, samples)
                count[0] += 1
                if found != expected:
                    faults.append(f"other results: {found} instead of {expected}")
            except ServerIsFullError:
                pass
            except Exception as e:
                faults.append(repr(e))
            stop.wait(0.2)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()
    assert count[0] and not faults, faults[:3]
    assert recognize(ws, samples) == expected
