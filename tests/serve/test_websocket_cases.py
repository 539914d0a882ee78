"""The cases of the Autobahn test suite (which needs Python 2), by hand, on both protocols.

The numbers are those of its cases. The server must end what is wrong with the right code, answer what is right, never
use 1011, and leave another stream as it is.
"""

from __future__ import annotations

import json
import time

import pytest

from ds2cli.serve.sockets import MAX_MESSAGE, MAX_TEXT
from tests.serve.conftest import running_server
from tests.serve.raw_socket import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawSocket,
    close_payload,
    frame,
    unchanged_streams,
)

PATHS = {"/stream": '{"type": "start"}', "/": '{"config": {"sample_rate": 16000}}'}
END = {"/stream": '{"type": "finish"}', "/": '{"eof" : 1}'}
"""What begins and what ends a stream."""


@pytest.fixture(scope="module")
def port(exp):
    with running_server(exp, "--max-requests", 0) as server, unchanged_streams(server.ws):
        yield server.port


def text(path, size=0):
    """A message that is understood at the beginning, with spaces up to a size."""
    return PATHS[path].encode().ljust(size)


UTF8 = "κόσμε, ℝ²".encode()


def utf8(*parts):
    """A text message in fragments of these bytes."""
    opcodes = [TEXT] + [CONT] * (len(parts) - 1)
    return b"".join(
        frame(opcode, part, fin=i == len(parts) - 1)
        for i, (opcode, part) in enumerate(zip(opcodes, parts, strict=True))
    )


RIGHT = {
    "1.1 text of 125 bytes": lambda p: frame(TEXT, text(p, 125)),
    "1.1 text of 126 bytes": lambda p: frame(TEXT, text(p, 126)),
    "1.1 text of 127 bytes": lambda p: frame(TEXT, text(p, 127)),
    "1.1 text of 128 bytes": lambda p: frame(TEXT, text(p, 128)),
    "1.1 text of 65535 bytes": lambda p: frame(TEXT, text(p, 65535)),
    "1.1 text of 65536 bytes": lambda p: frame(TEXT, text(p, 65536)),
    "9.1 text of the largest size": lambda p: frame(TEXT, text(p, MAX_TEXT)),
    "1.2 binary of 0 bytes": lambda p: frame(BINARY),
    "1.2 binary of 124 bytes": lambda p: frame(BINARY, bytes(124)),
    "1.2 binary of 126 bytes": lambda p: frame(BINARY, bytes(126)),
    "1.2 binary of 128 bytes": lambda p: frame(BINARY, bytes(128)),
    "1.2 binary of 65534 bytes": lambda p: frame(BINARY, bytes(65534)),
    "1.2 binary of 65536 bytes": lambda p: frame(BINARY, bytes(65536)),
    "1.3 length in 2 bytes that needs 1": lambda p: frame(TEXT, text(p), length_bytes=2),
    "1.3 length in 8 bytes that needs 1": lambda p: frame(TEXT, text(p), length_bytes=8),
    "2.7 pong that was not asked for": lambda p: frame(PONG, b"unasked") + frame(PONG),
    "5.3 two fragments": lambda p: frame(TEXT, text(p)[:5], fin=False) + frame(CONT, text(p)[5:]),
    "5.6 ping between fragments": lambda p: (
        frame(TEXT, text(p)[:5], fin=False) + frame(PING, b"x") + frame(CONT, text(p)[5:])
    ),
    "5.7 pong between fragments": lambda p: (
        frame(BINARY, bytes(6), fin=False) + frame(PONG, b"x") + frame(CONT, bytes(4))
    ),
    "6.1 empty fragments": lambda p: (
        frame(TEXT, fin=False) + frame(CONT, text(p), fin=False) + frame(CONT, fin=False) * 50 + frame(CONT)
    ),
    "mask of zeros": lambda p: frame(TEXT, text(p), mask=bytes(4)),
    "9.3 64 kB in fragments of 64 bytes": lambda p: (
        frame(BINARY, bytes(64), fin=False) + frame(CONT, bytes(64), fin=False) * 1022 + frame(CONT, bytes(64))
    ),
}

WRONG = {
    "1.1 text of 0 bytes": (lambda p: frame(TEXT), 1008),
    "2.5 ping of 126 bytes": (lambda p: frame(PING, bytes(126)), 1002),
    "3.1 first reserved bit": (lambda p: frame(TEXT, text(p), rsv=4), 1002),
    "3.2 second reserved bit": (lambda p: frame(BINARY, bytes(4), rsv=2), 1002),
    "3.3 third reserved bit, after a message": (lambda p: frame(TEXT, text(p)) + frame(TEXT, text(p), rsv=1), 1002),
    "3.5 reserved bits of a ping": (lambda p: frame(PING, b"x", rsv=5), 1002),
    "3.6 reserved bits of a close": (lambda p: frame(CLOSE, rsv=7), 1002),
    **{f"4.1 opcode {n}": (lambda p, n=n: frame(n, b"x"), 1002) for n in (3, 4, 5, 6, 7)},
    **{f"4.2 opcode {n}": (lambda p, n=n: frame(n, b"x"), 1002) for n in (11, 12, 13, 14, 15)},
    "5.1 fragmented ping": (lambda p: frame(PING, b"x", fin=False) + frame(CONT, b"x"), 1002),
    "5.2 fragmented pong": (lambda p: frame(PONG, b"x", fin=False) + frame(CONT, b"x"), 1002),
    "5.9 continuation of nothing": (lambda p: frame(CONT, b"x"), 1002),
    "5.11 continuation of nothing, not the last": (lambda p: frame(CONT, b"x", fin=False), 1002),
    "5.15 continuation after the end": (
        lambda p: frame(TEXT, text(p)[:5], fin=False) + frame(CONT, text(p)[5:]) + frame(CONT, b"x", fin=False),
        1002,
    ),
    "5.18 text within text": (lambda p: frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "5.18 binary within text": (lambda p: frame(TEXT, b"{", fin=False) + frame(BINARY, b"xx"), 1002),
    "not masked": (lambda p: frame(TEXT, text(p), mask=None), 1002),
    "close that is not masked": (lambda p: frame(CLOSE, close_payload(1000), mask=None), 1002),
    "6.2 text of letters": (lambda p: utf8(UTF8), 1008),
    "6.2 text of letters, byte by byte": (lambda p: utf8(*(UTF8[i : i + 1] for i in range(len(UTF8)))), 1008),
    "6.3 no UTF-8": (lambda p: utf8(UTF8 + b"\xed\xa0\x80edited"), 1007),
    "6.3 no UTF-8, in fragments": (lambda p: utf8(UTF8, b"\xed\xa0", b"\x80edited"), 1007),
    "6.4 no UTF-8, then a good fragment": (lambda p: utf8(UTF8 + b"\xf4\x90", b"\x80\x80", UTF8), 1007),
    "6.12 overlong": (lambda p: utf8(b"\xc0\xaf"), 1007),
    "6.14 byte 0xff": (lambda p: utf8(b'{"type": "start\xff"}'), 1007),
    "6.16 cut letter": (lambda p: utf8(UTF8[:1]), 1007),
    "7.3 close with 1 byte": (lambda p: frame(CLOSE, b"x"), 1002),
    "7.3 close with 126 bytes": (lambda p: frame(CLOSE, close_payload(1000, bytes(124))), 1002),
    "7.5 close with a reason that is not UTF-8": (lambda p: frame(CLOSE, close_payload(1000, b"\xce\xba\xff")), 1007),
    **{
        f"7.9 close with code {code}": (lambda p, code=code: frame(CLOSE, close_payload(code)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    "9 message of more than the largest size": (lambda p: frame(BINARY, bytes(MAX_MESSAGE + 2)), 1009),
    "9 text of more than the largest size": (lambda p: frame(TEXT, text(p, MAX_TEXT + 1)), 1008),
    "9 fragments of more than the largest size": (
        lambda p: frame(BINARY, bytes(MAX_MESSAGE), fin=False) + frame(CONT, b"xx"), 1009,
    ),
    "length of 2^40, and nothing": (lambda p: frame(BINARY, length=1 << 40), 1009),
    "length of 2^63": (lambda p: frame(BINARY, length=1 << 63), (1002, 1009)),
}  # fmt: skip

ENDS = {
    "7.1 close without a code": (lambda p: frame(CLOSE), (1000, 1005)),
    "7.3 close": (lambda p: frame(CLOSE, close_payload(1000)), 1000),
    "7.3 close with a reason of 123 bytes": (lambda p: frame(CLOSE, close_payload(1000, b"*" * 123)), 1000),
    **{
        f"7.7 close with code {code}": (lambda p, code=code: frame(CLOSE, close_payload(code)), code)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
    "7.1 two closes": (lambda p: frame(CLOSE, close_payload(1000)) + frame(CLOSE, close_payload(1001)), 1000),
    "7.1 ping after close": (lambda p: frame(CLOSE, close_payload(1000)) + frame(PING, b"x"), 1000),
    "7.1 text after close": (lambda p: frame(CLOSE, close_payload(1000)) + frame(TEXT, b"x"), 1000),
    "7.1 a lot after close": (
        lambda p: frame(CLOSE, close_payload(1000)) + frame(BINARY, bytes(1 << 18)) * 4, 1000,
    ),
    "7.1 close within a message": (
        lambda p: frame(TEXT, b"{", fin=False) + frame(CLOSE, close_payload(1000)), (1000, 1002),
    ),
    "close in the middle of a stream": (
        lambda p: frame(TEXT, text(p)) + frame(BINARY, bytes(32000)) + frame(CLOSE, close_payload(1001)), 1001,
    ),
}  # fmt: skip


def finish(ws, path):
    """End a stream in order: it must still be as it should."""
    ws.send(frame(BINARY, bytes(3200)) + frame(TEXT, END[path].encode()))
    frames = ws.read_frames()
    assert frames[-1].opcode == CLOSE and frames[-1].code == 1000, frames[-1]
    assert (
        frames[-2].json == {"type": "end", "duration": frames[-2].json["duration"]}
        if path == "/stream"
        else ("text" in frames[-2].json)
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", RIGHT)
def test_right_frames(port, path, case):
    with RawSocket(port) as ws:
        assert ws.open(path).startswith("HTTP/1.1 101 ")
        ws.send(RIGHT[case](path))
        finish(ws, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", [*WRONG, *ENDS])
def test_frames_that_end_the_connection(port, path, case):
    make, expected = {**WRONG, **ENDS}[case]
    with RawSocket(port) as ws:
        assert ws.open(path).startswith("HTTP/1.1 101 ")
        ws.send(make(path))
        start = time.monotonic()
        frames = ws.read_frames()
        assert frames and frames[-1].opcode == CLOSE, f"no close frame: {frames}"
        codes = expected if isinstance(expected, tuple) else (expected,)
        assert frames[-1].code in codes, f"{frames[-1].code}: {frames[-1].payload[2:]!r}"
        assert time.monotonic() - start < 10
        assert sum(found.opcode == CLOSE for found in frames) == 1


@pytest.mark.parametrize("path", PATHS)
def test_pings_are_answered_in_order(port, path):
    payloads = [b"", b"x", bytes(range(125)), b"\xff\xfe", *(b"%d" % i for i in range(10))]
    with RawSocket(port) as ws:
        ws.open(path)
        ws.send(b"".join(frame(PING, payload) for payload in payloads))
        for payload in payloads:
            found = ws.read_frame()
            assert (found.opcode, found.payload) == (PONG, payload)
        finish(ws, path)


@pytest.mark.parametrize("path", PATHS)
def test_bytes_one_by_one(port, path):
    data = frame(TEXT, text(path)) + frame(PING, b"1") + frame(BINARY, bytes(130))
    with RawSocket(port) as ws:
        ws.open(path)
        for i in range(len(data)):
            ws.send(data[i : i + 1])
            time.sleep(0.0005)
        finish(ws, path)


@pytest.mark.parametrize("path", PATHS)
def test_octets_of_a_message_as_fragments(port, path):
    data = text(path)
    fragments = [frame(TEXT if i == 0 else CONT, data[i : i + 1], fin=i == len(data) - 1) for i in range(len(data))]
    with RawSocket(port) as ws:
        ws.open(path)
        ws.send(frame(PING, b"between").join(fragments))
        finish(ws, path)


@pytest.mark.parametrize("path", PATHS)
def test_frames_behind_the_handshake(port, path):
    with RawSocket(port) as ws:
        assert ws.open(path, rest=frame(TEXT, text(path))).startswith("HTTP/1.1 101 ")
        finish(ws, path)
    with RawSocket(port) as ws:
        # what is wrong before the handshake is complete ends the connection, with or without an answer to it
        ws.open(path, rest=frame(7, b"x"))
        ws.read_all()


KEY, VERSION = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"
HANDSHAKES = {
    "another version": [KEY, "Sec-WebSocket-Version: 12"],
    "no version": [KEY],
    "no key": [VERSION],
    "short key": [VERSION, "Sec-WebSocket-Key: YQ=="],
    "key that is no base64": [VERSION, "Sec-WebSocket-Key: ?"],
    "body": [VERSION, KEY, "Content-Length: 5"],
    "chunks": [VERSION, KEY, "Transfer-Encoding: chunked"],
    "long header": [VERSION, KEY, "x: " + "a" * 9000],
    "many headers": [VERSION, KEY, *(f"x{i}: y" for i in range(300))],
    "two upgrades": [VERSION, KEY, "Upgrade: h2c"],
}


@pytest.mark.parametrize("lines", HANDSHAKES.values(), ids=HANDSHAKES)
def test_wrong_handshakes(port, lines):
    with RawSocket(port) as ws:
        head = ["GET /stream HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket", *lines]
        ws.send("\r\n".join(head).encode() + b"\r\n\r\n")
        answer = ws.read_head()
        assert answer.startswith("HTTP/1.1 4"), answer


def test_ping_flood_of_a_client_that_does_not_read(exp):
    with running_server(exp, "--idle", 1) as server, RawSocket(server.port) as ws:
        ws.open("/stream")
        ws.send(frame(TEXT, b'{"type": "start"}'))
        before = server.memory_mb()
        ws.socket.settimeout(1)
        pings = frame(PING, bytes(125)) * 1000
        try:
            for _ in range(500):
                ws.socket.sendall(pings)
        except OSError:
            pass
        assert server.memory_mb() < before + 20
        deadline = time.monotonic() + 20
        while server.metric("ds2_streams") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert server.metric("ds2_streams") == 0


def test_small_fragments_take_no_more_memory_than_their_bytes(exp):
    with running_server(exp) as server, RawSocket(server.port) as ws:
        ws.open("/stream")
        before = server.memory_mb()
        ws.send(frame(BINARY, b"x", fin=False) + frame(CONT, b"y", fin=False) * 200_000)
        ws.send(frame(CONT, fin=False) * 100_000 + frame(PING, b"done"))
        while ws.read_frame().payload != b"done":
            pass
        assert server.memory_mb() < before + 10
        ws.send(frame(CONT, b"z"))
        assert json.loads(ws.read_frame().payload)["type"] == "ready"
