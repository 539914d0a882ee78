"""Many connections at once, and clients that vanish, hang up or do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ds2cli import Recognizer
from ds2cli.serve.sockets import MAX_MESSAGE
from tests.serve.conftest import running_server, speech
from tests.serve.raw_socket import BINARY, PING, TEXT, RawSocket, frame

RATE = 16000


def alone(exp, samples):
    """The texts and words that a stream of its own has."""
    stream = Recognizer(str(exp)).stream(RATE)
    results = [*stream.advance(samples), *stream.finish()]
    return [(result.text, result.words) for result in results if result.final]


def send_to_stream(server, samples, rng):
    """The final texts and words of `/stream`, of frames of random sizes."""
    with connect(f"{server.ws}/stream", proxy=None) as ws:
        ws.send('{"type": "start", "sample_rate": 16000}')
        begin = 0
        while begin < len(samples):
            size = int(rng.integers(1, 8000))
            ws.send(samples[begin : begin + size].tobytes())
            begin += size
        ws.send('{"type": "finish"}')
        messages = [json.loads(message) for message in ws]
        assert messages[-1]["type"] == "end" and ws.close_code == 1000
    return [(m["text"], m["words"]) for m in messages if m["type"] == "final"]


def send_to_vosk(server, samples, rng):
    """The same of Vosk's protocol, whose client waits for each reply."""
    replies = []
    with connect(server.ws, proxy=None) as ws:
        ws.send('{"config": {"sample_rate": 16000}}')
        begin = 0
        while begin < len(samples):
            size = int(rng.integers(1000, 8000))
            ws.send(samples[begin : begin + size].tobytes())
            replies.append(json.loads(ws.recv()))
            begin += size
        ws.send('{"eof" : 1}')
        replies.append(json.loads(ws.recv()))
    return [(r["text"], r.get("result", [])) for r in replies if r.get("text")]


def at_once(functions):
    """The results of functions that run in threads of their own."""
    found = [None] * len(functions)

    def run(i):
        found[i] = functions[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


def test_twenty_streams_of_real_recordings_at_once(server, exp, shared_data):
    paths = sorted((shared_data / "LibriSpeech").glob("[dt]*/*/*/*.flac"))[:20]
    assert len(paths) == 20
    recordings = [soundfile.read(path, dtype="int16")[0][: 5 * RATE] for path in paths]
    expected = [alone(exp, samples) for samples in recordings]
    functions = [
        lambda i=i, samples=samples: (send_to_vosk if i % 2 else send_to_stream)(
            server, samples, np.random.default_rng(i)
        )
        for i, samples in enumerate(recordings)
    ]
    assert at_once(functions) == expected
    assert sum(map(len, expected)) >= 20


def test_a_flood_of_messages_is_read_slowly(server):
    with connect(f"{server.ws}/stream", proxy=None) as ws:
        begin = time.monotonic()
        for _ in range(5000):
            ws.send(b"")
        ws.send('{"type": "finish"}')
        assert json.loads(list(ws)[-1])["type"] == "end"
        # 1000 at once
        assert 0.9 < time.monotonic() - begin < 10


def wait_for(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.05)


def raw(server, path="/stream"):
    """A socket after the handshake."""
    found = RawSocket(server.port)
    assert found.open(path).startswith("HTTP/1.1 101")
    return found.socket


def reset(ws):
    """End a connection as a crashed machine does."""
    ws.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.close()


@pytest.mark.parametrize("path", ["/stream", "/"])
def test_clients_that_vanish_leave_nothing(exp, path):
    samples = speech(3)
    with running_server(exp, "--idle", 5) as server:
        for data in (
            b"",
            frame(BINARY, samples.tobytes()),
            frame(BINARY, samples.tobytes()) + frame(BINARY, samples.tobytes())[:5000],
        ):
            reset_, closed, half = (raw(server, path) for _ in range(3))
            for ws in (reset_, closed, half):
                ws.sendall(data)
            reset(reset_)
            closed.close()
            half.shutdown(socket.SHUT_WR)
            # it is closed in turn
            half.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                while half.recv(4096):
                    pass
            half.close()
        expected = alone(exp, samples)
        assert (send_to_vosk if path == "/" else send_to_stream)(server, samples, np.random.default_rng(0)) == expected
        wait_for(lambda: server.metric("ds2_streams") == 0)


def test_two_hundred_connects_at_once(exp):
    """Those that fit are served, the others are refused in words; none is cut otherwise."""
    samples = speech(2)
    expected = [text for text, _ in alone(exp, samples)]

    async def use(server):
        async with connect_async(f"{server.ws}/stream", proxy=None, open_timeout=30) as ws:
            messages = []
            with contextlib.suppress(ConnectionClosed):
                await ws.send('{"type": "start"}')
                for begin in range(0, len(samples), 3200):
                    await ws.send(samples[begin : begin + 3200].tobytes())
                await ws.send('{"type": "finish"}')
            with contextlib.suppress(ConnectionClosed):
                while True:
                    messages.append(json.loads(await ws.recv()))
            return messages, ws.close_code

    async def use_all(server):
        return await asyncio.gather(*(use(server) for _ in range(200)))

    with running_server(exp, "--max-streams", 40) as server:
        begin = time.monotonic()
        found = asyncio.run(use_all(server))
        seconds = time.monotonic() - begin
        served = [messages for messages, code in found if code == 1000]
        refused = [messages[-1] for messages, code in found if code == 1013]
        assert len(served) + len(refused) == 200 and len(served) >= 40
        for messages in served:
            assert [m["text"] for m in messages if m["type"] == "final"] == expected
        assert all(message["code"] == "overloaded" and message["retry_s"] == 5 for message in refused)
        assert seconds < 30
        wait_for(lambda: server.metric("ds2_streams") == 0)


def flood(ws, data, seconds):
    """Send without reading, for as long as the server takes it; whether it has ended the connection."""
    ws.settimeout(0.2)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            ws.send(data)
        except TimeoutError:
            pass
        except OSError:
            return True
    return False


FLOODS = {
    "samples": frame(BINARY, speech(0.1).tobytes()),
    "the largest frames": frame(BINARY, speech(4).tobytes().ljust(MAX_MESSAGE, b"\0")),
    "empty frames": frame(BINARY) * 1000,
    "one sample": frame(BINARY, b"ab") * 1000,
    "messages with answers": frame(TEXT, json.dumps({"type": "ping", "id": "x" * 50_000}).encode()),
    "pings": frame(PING, b"x" * 125) * 100,
}
BOUND_MB = 20
"""For each client that sends and never reads."""

OTHERS_S = 5.0
"""Time of another stream of 2 s meanwhile; it was 8 s with three of these clients alone."""


def check_floods(exp, clients, seconds):
    """The server serves others meanwhile, and its memory is bounded. clients: path and bytes to repeat of each."""
    samples = speech(2)
    expected = alone(exp, samples)
    with running_server(exp, "--idle", 2) as server:
        for i in range(2):
            assert send_to_stream(server, samples, np.random.default_rng(i)) == expected
        before = server.memory_mb()
        sockets = [raw(server, path) for path, _ in clients]
        for ws in sockets:
            ws.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        threads = [
            threading.Thread(target=flood, args=(ws, data, seconds))
            for ws, (_, data) in zip(sockets, clients, strict=True)
        ]
        for thread in threads:
            thread.start()
        most = longest = 0.0
        while any(thread.is_alive() for thread in threads):
            begin = time.monotonic()
            assert send_to_vosk(server, samples, np.random.default_rng(1)) == expected
            longest = max(longest, time.monotonic() - begin)
            most = max(most, server.memory_mb())
        assert most - before < BOUND_MB * len(clients)
        # some 15 replies, one after the other
        assert longest < OTHERS_S
        for ws in sockets:
            reset(ws)
        wait_for(lambda: server.metric("ds2_streams") == 0)


def test_clients_that_never_read_are_bounded_in_memory(exp):
    check_floods(exp, [(path, data) for path in ("/stream", "/") for data in FLOODS.values()], 1.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("path", ["/stream", "/"])
def test_a_client_that_never_reads_for_a_while(exp, path, kind):
    check_floods(exp, [(path, FLOODS[kind])] * 3, 15)
