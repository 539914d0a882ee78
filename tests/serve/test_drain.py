"""How the server begins and ends: SIGTERM under load loses nothing, and nothing is a traceback."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.serve.conftest import ROOT, running_server, speech
from tests.serve.raw_socket import recognize

STREAMS = 10


class SlowStream:
    """A stream of `samples` in real time, in a thread: its final texts, the close code and the error message."""

    def __init__(self, ws, samples, *, finish=True):
        self.ws, self.samples, self.finish = ws, samples, finish
        self.finals, self.code, self.error, self.ready = [], None, None, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with connect(f"{self.ws}/stream", proxy=None) as ws:
            ws.send('{"type": "start", "partials": false}')
            reader = threading.Thread(target=self.read, args=(ws,))
            reader.start()
            try:
                for begin in range(0, len(self.samples), 1600):
                    ws.send(self.samples[begin : begin + 1600].tobytes())
                    time.sleep(0.1)
                while not self.finish and reader.is_alive():
                    ws.send(bytes(3200))
                    time.sleep(0.1)
                ws.send('{"type": "finish"}')
            except ConnectionClosed:
                pass
            reader.join()
            self.code = ws.close_code

    def read(self, ws):
        try:
            for message in map(json.loads, ws):
                self.ready.set()
                if message["type"] == "final":
                    self.finals.append((message["text"], message.get("words")))
                elif message["type"] == "error":
                    self.error = message
        except ConnectionClosed:
            pass


def status_of(url, data=None, headers=None):
    """The status of an HTTP request, and its text."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def multipart(samples):
    """Body and headers of a request for the text of a recording."""
    import io

    file = io.BytesIO()
    with wave.open(file, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(16000)
        w.writeframes(samples.tobytes())
    parts = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    parts += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + file.getvalue()
    return parts + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def upload(http, samples):
    """Status and text of an upload."""
    return status_of(f"{http}/v1/audio/transcriptions", *multipart(samples))


def test_nothing_is_lost_when_streams_end_in_time(exp):
    samples = [speech(3, seed=i) for i in range(STREAMS)]
    long = speech(60, seed=99)
    with running_server(exp, "--max-streams", STREAMS) as server:
        expected = [recognize(server.ws, s) for s in samples]
        expected_upload = upload(server.http, long)
        assert expected_upload[0] == 200 and any(text for finals in expected for text, _ in finals)
        streams = [SlowStream(server.ws, s) for s in samples]
        for stream in streams:
            assert stream.ready.wait(30)
        uploaded = []
        thread = threading.Thread(target=lambda: uploaded.append(upload(server.http, long)))
        thread.start()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert status_of(server.http + "/readyz")[0] == 503 and status_of(server.http + "/healthz")[0] == 200
        with connect(f"{server.ws}/stream", proxy=None) as refused:
            assert json.loads(refused.recv())["code"] == "stopping"
            with pytest.raises(ConnectionClosed):
                refused.recv()
            assert refused.close_code == 1012 and "connect again" in refused.close_reason
        assert upload(server.http, long)[0] == 503
        for stream in streams:
            stream.thread.join()
        thread.join()
        server.log += server.process.communicate(timeout=60)[1].decode()
        assert server.process.returncode == 0
        assert [stream.finals for stream in streams] == expected
        assert [(stream.code, stream.error) for stream in streams] == [(1000, None)] * STREAMS
        assert uploaded == [expected_upload]
    assert "serve: stopping: " in server.log


def test_streams_that_do_not_end_get_what_was_heard(exp):
    samples = speech(3, seed=5)
    with running_server(exp, "--drain", 1) as server:
        streams = [SlowStream(server.ws, samples, finish=False) for _ in range(3)]
        for stream in streams:
            assert stream.ready.wait(30)
        time.sleep(3.5)
        start = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - start < 8
        for stream in streams:
            stream.thread.join()
            assert stream.code == 1012 and stream.error["code"] == "stopping" and stream.error["retry_s"]
            assert any(text for text, _ in stream.finals)
        assert streams[0].finals[0][0] == streams[1].finals[0][0]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_second_signal_ends_at_once(exp, number):
    with running_server(exp) as server:
        streams = [SlowStream(server.ws, speech(2), finish=False) for _ in range(3)]
        for stream in streams:
            assert stream.ready.wait(30)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(upload, server.http, np.tile(speech(30), 60))
            time.sleep(0.5)
            server.process.send_signal(number)
            time.sleep(0.5)
            assert server.process.poll() is None
            start = time.monotonic()
            status = server.stop(number)
        assert time.monotonic() - start < 3 and status == 0
        code, answer = waiting.result()
        # or it was done in time
        assert code == 200 or (code == 503 and "stopping" in answer)
        for stream in streams:
            stream.thread.join()


def test_idle_server_ends_at_once(exp):
    with running_server(exp) as server:
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port)), connect(f"{server.ws}/stream", proxy=None):
            assert server.stop(signal.SIGINT) == 0 and time.monotonic() - start < 5
    assert server.log.count("\n") <= 2


def start(exp, *options):
    command = [sys.executable, "-m", "ds2cli", "serve", str(exp), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay_s", [0.3, pytest.param(1.0, marks=pytest.mark.slow)])
def test_signal_before_the_network_is_loaded(exp, number, delay_s):
    process = start(exp, "--port", 0)
    time.sleep(delay_s)
    process.send_signal(number)
    output, log = process.communicate(timeout=30)
    assert "Traceback" not in log and not output, log
    if "http://" not in log and process.returncode != 0:
        assert process.returncode in (-number, 128 + number), log


def test_port_that_is_taken(exp):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(exp, "--port", port)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(rf"ds2: 127.0.0.1:{port}: cannot listen there: Address already in use \(.*--port\)\n", log), log


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_host_that_is_none(exp, host):
    process = start(exp, "--port", 0, "--host", host)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in log
    assert log.splitlines()[-1].startswith(f"ds2: {host}:0: cannot listen there: "), log
