"""Fuzz the server: messages and frames of both WebSocket protocols, HTTP requests, forms with recordings.

Whatever comes, it answers or closes with a code that blames the client, writes no error to its log, and still answers
the next request.
"""

import json
import urllib.request

import pytest
from fuzzing import fuzz
from hypothesis import strategies as st
from inputs import damaged

pytest.importorskip("uvicorn", reason="needs the extra serve (pip install 'ds2cli[serve]')")

from tests.serve.conftest import running_server, speech, write_network
from tests.serve.raw_socket import BINARY, CLOSE, CONT, TEXT, RawSocket, frame
from tests.serve.test_drain import multipart

PATHS = ["/stream", "/"]
BEGIN = {"/stream": b'{"type": "start"}', "/": b'{"config": {"sample_rate": 16000}}'}
NAMES = st.sampled_from(
    ["type", "sample_rate", "encoding", "partials", "nbest", "hotwords", "words", "silence", "config", "eof", "reset",
     "max_alternatives", "phrase_list", "id"]
)  # fmt: skip
VALUES = st.sampled_from(["start", "finish", "ping", "s16le", "f32le", 16000, 8000.0, 0, -1, 1e400, 10**30, True, None])
JSON = st.recursive(
    VALUES | st.text(max_size=5) | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.one_of(
    st.dictionaries(NAMES, JSON, max_size=3).map(lambda fields: {"type": "start", **fields}),
    JSON,
    JSON.map(lambda value: {"config": value}),
).map(lambda message: frame(TEXT, json.dumps(message).encode("utf-8", "replace")))
SAMPLES = st.binary(max_size=400) | st.integers(0, 5000).map(bytes)
FRAMES = st.builds(
    frame,
    st.sampled_from([TEXT, BINARY, CONT, CLOSE, 9, 10]) | st.integers(0, 15),
    SAMPLES,
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0, 1, 4]),
    mask=st.sampled_from([b"\0\0\0\0", b"\1\2\3\4", b"\xff\xff\xff\xff"]),
    length_bytes=st.just(8),
)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    exp = tmp_path_factory.mktemp("server") / "nonsense"
    write_network(exp)
    with running_server(exp, "--max-requests", 0, "--idle", 0.5) as server:
        yield server.port
    assert "error:" not in server.log, server.log


def check_alive(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as response:
        assert response.read() == b"ok\n"


def converse(port, path, data):
    """Send frames after the beginning of a stream, and a close: all must end in order."""
    with RawSocket(port) as ws:
        assert " 101 " in ws.open(path)
        ws.send(data + frame(CLOSE, b"\x03\xe8"))
        codes = [found.code for found in ws.read_frames() if found.opcode == CLOSE]
        assert len(codes) <= 1 and 1011 not in codes, codes
    check_alive(port)


@fuzz(st.sampled_from(PATHS), st.booleans(), st.lists(MESSAGES | SAMPLES.map(lambda s: frame(BINARY, s)), max_size=4))
def test_server_gets_any_messages(port, path, has_begun, messages):
    converse(port, path, frame(TEXT, BEGIN[path]) * has_begun + b"".join(messages))


@fuzz(st.sampled_from(PATHS), st.lists(FRAMES, max_size=6))
def test_server_gets_any_frames(port, path, frames):
    converse(port, path, frame(TEXT, BEGIN[path]) + b"".join(frames))


@fuzz(st.sampled_from(PATHS), st.data())
def test_server_gets_damaged_frames(port, path, data):
    whole = frame(TEXT, BEGIN[path]) + frame(BINARY, speech(0.2).tobytes()) + frame(BINARY, bytes(200), length_bytes=8)
    converse(port, path, data.draw(damaged(whole)))


BODY, HEADERS = multipart(speech(0.1))
REQUESTS = [
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
]  # fmt: skip


@fuzz(st.sampled_from(REQUESTS), st.data())
def test_server_gets_damaged_requests(port, request_, data):
    with RawSocket(port) as http:
        http.send(data.draw(damaged(request_)))
        http.socket.shutdown(1)
        answer = http.read_all()
    assert not answer or answer.startswith(b"HTTP/1.1 "), answer
    assert b"HTTP/1.1 500" not in answer, answer
    check_alive(port)


@fuzz(st.data())
def test_server_gets_damaged_forms(port, data):
    body = data.draw(damaged(BODY))
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/audio/transcriptions", body, HEADERS)
    try:
        with urllib.request.urlopen(asked, timeout=60) as response:
            assert "text" in json.load(response)
    except urllib.error.HTTPError as e:
        with e:
            assert 400 <= e.code < 500, e.code
            assert json.load(e)["error"]["message"]
    check_alive(port)
