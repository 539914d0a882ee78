"""Clients as no server wants them: malformed messages, floods, silence, and large uploads.

Each function is one attack; it returns how many messages, connections or bytes it has sent. All that is random follows
from the generator that is passed in.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time

import numpy as np

from tests.serve.raw_socket import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawSocket, close_payload, frame

BEGIN = {"/stream": b'{"type": "start"}', "/": b'{"config": {"sample_rate": 16000}}'}

UPLOAD_S = 600.0
"""Time for the answer to an upload (s)."""

NUMBERS = (0, -1, 1, 0.5, 1e308, -1e308, 10**400, 2**31, 2**63, 16000, 16000.5, True)
WORDS = (
    "type", "start", "finish", "ping", "id", "sample_rate", "encoding", "s16le", "f32le", "partials", "nbest",
    "hotwords", "words", "config", "eof", "reset", "phrase_list", "max_alternatives", "model", "silence", "__class__",
    "", "\0", "\ud83d", "ℝ", "../../etc/passwd", "$(id)", "a" * 5000,
)  # fmt: skip


def random_value(rng, depth=0):
    """A JSON value of any type."""
    kind = rng.integers(0, 8 if depth < 4 else 4)
    if kind == 0:
        return NUMBERS[rng.integers(len(NUMBERS))]
    if kind == 1:
        return WORDS[rng.integers(len(WORDS))]
    if kind == 2:
        return [None, False, float("nan"), float("inf")][rng.integers(4)]
    if kind == 3:
        return int(rng.integers(-(10**6), 10**6))
    if kind in (4, 5):
        return [random_value(rng, depth + 1) for _ in range(rng.integers(0, 4))]
    names = [WORDS[rng.integers(len(WORDS))] for _ in range(rng.integers(0, 4))]
    return {name: random_value(rng, depth + 1) for name in names}


def random_text(rng):
    """The bytes of a text message, mostly malformed."""
    kind = rng.integers(0, 12)
    if kind == 0:
        return b"[" * int(rng.choice([10, 1000, 100_000]))
    if kind == 1:
        return b'{"a":' * 5000 + b"1" + b"}" * 5000
    if kind == 2:
        return bytes(rng.integers(0, 256, rng.integers(0, 300), dtype=np.uint8))
    if kind == 3:
        return b'{"type": "start", "sample_rate": ' + b"9" * int(rng.choice([10, 5000, 200_000])) + b"}"
    if kind == 4:
        whole = json.dumps(random_value(rng)).encode("utf-8", "surrogatepass")
        return whole[: rng.integers(0, len(whole) + 1)]
    if kind in (5, 6, 7):
        name = WORDS[rng.integers(0, 17)]
        return json.dumps({"type": "start", name: random_value(rng)}).encode()
    if kind == 8:
        return json.dumps({"config": random_value(rng)}).encode()
    if kind == 9:
        return [*BEGIN.values(), b'{"type": "finish"}', b'{"type": "ping"}', b'{"eof" : 1}', b'{"reset" : 1}'][
            rng.integers(6)
        ]
    return json.dumps(random_value(rng)).encode()


def random_binary(rng):
    """The bytes of a binary message: samples, or what is none."""
    kind = rng.integers(0, 6)
    size = int(rng.choice([0, 1, 2, 3, 7, 100, 101, 3200, 40_001]))
    if kind == 0:
        return np.full(size // 4, np.nan, "<f4").tobytes()
    if kind == 1:
        return np.full(size // 4, [np.inf, -np.inf, 3e38][rng.integers(3)], "<f4").tobytes()
    if kind == 2:
        return b"\xff\x7f" * (size // 2)
    return bytes(rng.integers(0, 256, size, dtype=np.uint8))


def random_frames(rng):
    """The bytes of one message, or of frames that are none."""
    kind = rng.integers(0, 14)
    if kind < 6:
        return frame(TEXT, random_text(rng))
    if kind < 10:
        return frame(BINARY, random_binary(rng))
    if kind == 10:
        return frame([PING, PONG][rng.integers(2)], random_binary(rng)[:125])
    if kind == 11:
        return frame(TEXT, random_text(rng), fin=False) + frame(CONT, random_text(rng), fin=bool(rng.integers(2)))
    if kind == 12:
        code = int(rng.choice([0, 999, 1000, 1005, 1010, 3000, 4999, 65535]))
        return frame(CLOSE, close_payload(code, random_binary(rng)[:130]))
    return frame(int(rng.integers(16)), random_binary(rng)[:200], fin=bool(rng.integers(2)), rsv=int(rng.integers(8)))


def send_malformed(port, rng, count):
    """`count` messages over as many connections as that takes; AssertionError for an end with 1011."""
    sent = 0
    while sent < count:
        path = list(BEGIN)[rng.integers(2)]
        with RawSocket(port) as ws:
            ws.open(path)
            if rng.integers(3):
                encoding = b', "encoding": "f32le"' if path == "/stream" and rng.integers(2) else b""
                ws.send(frame(TEXT, BEGIN[path][:-1] + encoding + b"}"))
            messages = [random_frames(rng) for _ in range(rng.integers(1, 8))]
            ws.send(b"".join(messages))
            sent += len(messages)
            ending = rng.integers(4)
            if ending == 0:
                reset(ws.socket)
                continue
            if ending == 1:
                continue
            ws.send(frame(CONT, b"") if rng.integers(2) else frame(CLOSE, close_payload(1000)))
            for found in ws.read_frames():
                if found.opcode == CLOSE:
                    assert found.code != 1011, (found, messages)
    return sent


def reset(connection):
    """Close with a reset, as a machine does that was switched off and on."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def vanish(port, rng, count):
    """Streams whose clients leave in the middle, in order or not."""
    for _ in range(count):
        with RawSocket(port) as ws:
            ws.open("/stream")
            ws.send(frame(TEXT, BEGIN["/stream"]))
            for _ in range(rng.integers(1, 10)):
                ws.send(frame(BINARY, rng.integers(-8000, 8000, 1600).astype("<i2").tobytes()))
            if rng.integers(2):
                ws.send(frame(BINARY, bytes(3000))[: rng.integers(1, 3000)])
            if rng.integers(2):
                reset(ws.socket)
    return count


def connect_at_once(port, count, seconds=1.0):
    """`count` WebSockets within a second, which then leave."""
    opened, start = [], time.monotonic()
    for i in range(count):
        time.sleep(max(0.0, start + i * seconds / count - time.monotonic()))
        ws = RawSocket(port)
        ws.send(
            b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            + frame(TEXT, BEGIN["/stream"])
        )
        opened.append(ws)
    took = time.monotonic() - start
    answered = 0
    for ws in opened:
        with contextlib.suppress(OSError):
            answered += " 101 " in ws.read_head() or " 503 " in ws.read_head()
        ws.socket.close()
    assert answered >= 0.95 * count, f"{answered} of {count} connections were answered"
    assert took < 5 * seconds
    return count


@contextlib.contextmanager
def held_connections(port, rng, count):
    """While it is open: connections that say nothing, half a request, half a frame, or that read nothing."""
    held = []
    try:
        for i in range(count):
            ws = RawSocket(port)
            held.append(ws)
            if i % 4 == 1:
                ws.send(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: loc")
            elif i % 4 == 2:
                ws.open("/stream")
                ws.send(frame(TEXT, BEGIN["/stream"]) + frame(BINARY, bytes(3000))[:1000])
            elif i % 4 == 3:
                ws.open("/")
                ws.socket.settimeout(0.2)
                with contextlib.suppress(OSError):
                    for _ in range(200):
                        ws.socket.sendall(frame(BINARY, bytes(2)) * 20 + frame(PING, bytes(125)) * 20)
        yield held
    finally:
        for ws in held:
            (reset if rng.integers(2) else socket.socket.close)(ws.socket)


def upload(port, size, *, chunked=False, kind=b"noise"):
    """The status of an upload of `size` bytes that are no recording; 0 if the connection broke."""
    head = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    head += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    tail = b"\r\n--x--\r\n"
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(head) + size + len(tail))
    # it waits for its turn, at low priority
    with RawSocket(port, timeout=UPLOAD_S) as http:
        try:
            http.socket.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n" + length + b"\r\n\r\n"
            )
            block = (kind * (1 << 16))[: 1 << 16]
            parts = [head, *[block] * (size // len(block)), block[: size % len(block)], tail]
            for part in filter(None, parts):
                http.socket.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            if chunked:
                http.socket.sendall(b"0\r\n\r\n")
        except OSError:
            pass
        answer = http.read_all()
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def upload_in_parallel(port, count, size):
    """Several uploads at once, with a length and without: their statuses."""
    found = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(upload(port, size, chunked=bool(i % 2)))) for i in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
